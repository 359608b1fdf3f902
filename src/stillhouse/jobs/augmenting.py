"""A dataset with more texts to learn from: made of its train split, labelled by a teacher that lies on this machine.

What is watched and tested on stays as it is, and no text that is made from one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from stillhouse import __version__
from stillhouse.artifacts import load_manifest
from stillhouse.curation import Version, save
from stillhouse.curation.augmenting import Augmenter, Lexicon, Made, Ways
from stillhouse.curation.build import in_order
from stillhouse.dataset import SPLITS, Dataset, Example, example_id, strictest
from stillhouse.errors import RecipeError
from stillhouse.formats.examples import read_examples
from stillhouse.jobs.planning import teacher_names
from stillhouse.jobs.speeds import load_classifier
from stillhouse.method import WhiteBox
from stillhouse.prompts import prompt_hash
from stillhouse.recipe import Augmentation, Recipe
from stillhouse.records import problems_of
from stillhouse.students.base import WordTable, last_user_text
from stillhouse.students.cards import Card
from stillhouse.workspace import Workspace

ASKED_AT_ONCE = 512


def with_augmentation(workspace: Workspace, recipe: Recipe, dataset: Dataset, say: Callable[[str], None]) -> Dataset:
    """The dataset that the student learns from: itself, or a version with the texts that `[data.augment]` asks for.

    Of several teachers the first one labels. One that was made of the same before is taken as it is. Raises RecipeError where
    there is no local classifier to label them.
    """
    wanted = recipe.data.augment
    if wanted is None:
        return dataset
    names = teacher_names(recipe)
    if not names:
        raise RecipeError(
            "[data.augment] makes texts that a teacher must label: set [teacher] model, or recipe, to a local classifier."
        )
    made_of = {"augment": wanted.model_dump(mode="json"), "teacher": names[0], "code_version": __version__}
    known = _made_before(workspace, dataset, made_of)
    if known is not None:
        say(f"The texts that were made before are taken: {known.name} {known.fingerprint[:19]}.")
        return known
    folder = workspace.model_folder(names[0])
    teacher = _labeller(folder, names[0])
    splits = {split: read_examples(workspace.dataset_folder(dataset.fingerprint), split) for split in SPLITS}
    taken = {_normal(last_user_text(example.messages)) for rows in splits.values() for example in rows}
    made = make_texts([last_user_text(example.messages) for example in splits["train"]], wanted, teacher, taken)
    by = "the teacher labels them" if wanted.labels == "teacher" else "each has the label of the text that it comes from"
    say(f"{len(made)} texts were made of {len(splits['train'])}; {by}.")
    examples = labelled(made, splits["train"], teacher, by=wanted.labels)
    version = Version(
        name=f"{dataset.name}-augmented",
        examples=in_order([example for rows in splits.values() for example in rows] + examples),
        removed=Counter(),
        parents=(dataset.fingerprint,),
        recipe=made_of,
        teachers={**dataset.teachers, names[0]: dataset.teachers.get(names[0], 0) + len(examples)},
        may_train=strictest(dataset.may_train, load_manifest(folder).may_train),
    )
    return save(version, workspace.dataset_folder, workspace.store)


def check_options(recipe: Recipe) -> None:
    """Raises RecipeError where `[data.augment]` says how texts are made in words that nobody knows, or labels them in a way that
    the method would learn from though they may be wrong.
    """
    wanted = recipe.data.augment
    if wanted is None:
        return
    _ways(wanted)
    if wanted.labels == "parent" and not all(
        isinstance(method, WhiteBox) and method.weight == 1 for _, method in recipe.methods()
    ):
        raise RecipeError(
            '[data.augment] labels = "parent" gives made texts labels that need not be true of them: it is for methods that do '
            'not read them. Set [method] kind = "white-box" and weight = 1.0, or labels = "teacher".'
        )


def _made_before(workspace: Workspace, dataset: Dataset, made_of: dict[str, Any]) -> Dataset | None:
    for known in workspace.store.datasets(f"{dataset.name}-augmented"):
        if known.parents == (dataset.fingerprint,) and known.recipe == made_of:
            return known
    return None


def _labeller(folder: Path, name: str) -> Any:
    """The teacher, if it gives a text one label."""
    teacher, kind = load_classifier(folder), load_manifest(folder).kind
    if teacher is None:
        raise RecipeError(f"[data.augment] is for classifiers, and the teacher '{name}' is of kind '{kind}'.")
    card = getattr(teacher, "card", None)  # a linear one has none, and one label a text
    if isinstance(card, Card) and (card.objective not in ("classification", "regression") or card.labels.several):
        what = f'of objective "{card.objective}"' + (" with several tasks" if card.labels.several else "")
        raise RecipeError(f"[data.augment] makes single texts, each with one label, and the teacher '{name}' is {what}.")
    return teacher


def make_texts(texts: Sequence[str], wanted: Augmentation, teacher: Any, taken: Set[str]) -> list[Made]:
    """`factor` texts for each of `texts`, less those that are there already (`taken`, normalised) or came twice."""
    unique: dict[str, Made] = {}
    for made in Augmenter(texts, _lexicon(texts, teacher), _ways(wanted), seed=wanted.seed).make(wanted.factor * len(texts)):
        if _normal(made.text) not in taken:
            unique.setdefault(_normal(made.text), made)
    return list(unique.values())


def _ways(wanted: Augmentation) -> Ways:
    try:
        return Ways.model_validate(wanted.options)
    except ValidationError as exc:
        raise RecipeError(
            f"[data.augment.options] cannot be followed: {problems_of(exc)}. They are: {', '.join(Ways.model_fields)}."
        ) from exc


def labelled(
    made: Sequence[Made], train: Sequence[Example], teacher: Any, *, by: Literal["teacher", "parent"] = "teacher"
) -> list[Example]:
    """The texts as examples: the teacher's label to learn, the label of the text that it comes from as the reference.

    Where that is the label to learn, the teacher is asked about words on their own only: they come from no text.
    """
    chats = [[{"role": "user", "content": each.text}] for each in made]
    answers = [None if by == "teacher" or each.parent is None else train[each.parent].answer for each in made]
    asked = [i for i, answer in enumerate(answers) if answer is None]
    for start in range(0, len(asked), ASKED_AT_ONCE):
        part = asked[start : start + ASKED_AT_ONCE]
        for i, answer in zip(part, teacher.answer([chats[i] for i in part]), strict=True):
            answers[i] = answer
    return [
        Example(
            id=example_id(chat, answer or ""),
            messages=chat,
            answer=answer or "",
            reference=None if each.parent is None else train[each.parent].answer,
            group=prompt_hash(chat),
            source=None if each.parent is None else train[each.parent].source,
            metadata={"augmented": each.way},
        )
        for each, chat, answer in zip(made, chats, answers, strict=True)
    ]


def _lexicon(texts: Sequence[str], teacher: Any) -> Lexicon:
    """The teacher's own words and which of them it takes for alike; the texts' words where it has no word table."""
    if not isinstance(teacher, WordTable):
        return Lexicon.of_texts(texts)
    alike = teacher.words_alike()
    return Lexicon(tuple(alike), alike)


def _normal(text: str) -> str:
    return " ".join(text.lower().split())

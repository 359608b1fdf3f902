"""A dataset with more texts to learn from: made of its train split, labelled by a teacher that lies on this machine.

What is watched and tested on stays as it is, and no text that is made from one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set
from typing import Any

from pydantic import ValidationError

from stillhouse.artifacts import load_manifest
from stillhouse.curation import Version, save
from stillhouse.curation.augmenting import Augmenter, Lexicon, Made, Ways
from stillhouse.curation.build import in_order
from stillhouse.dataset import Dataset, Example, example_id
from stillhouse.errors import RecipeError
from stillhouse.formats.examples import read_examples
from stillhouse.jobs.planning import teacher_names
from stillhouse.jobs.speeds import load_classifier
from stillhouse.prompts import prompt_hash
from stillhouse.recipe import Augmentation, Recipe
from stillhouse.students.base import WordTable, last_user_text
from stillhouse.workspace import Workspace

ASKED_AT_ONCE = 512


def with_augmentation(workspace: Workspace, recipe: Recipe, dataset: Dataset, say: Callable[[str], None]) -> Dataset:
    """The dataset that the student learns from: itself, or a version with the texts that `[data.augment]` asks for.

    Raises RecipeError where there is no local classifier to label them.
    """
    wanted = recipe.data.augment
    if wanted is None:
        return dataset
    names = teacher_names(recipe)
    if not names:
        raise RecipeError(
            "[data.augment] makes texts that a teacher must label: set [teacher] model, or recipe, to a local classifier."
        )
    folder = workspace.model_folder(names[0])
    teacher = load_classifier(folder)
    if teacher is None:
        kind = load_manifest(folder).kind
        raise RecipeError(f"[data.augment] is for classifiers, and the teacher '{names[0]}' is of kind '{kind}'.")
    splits = {split: read_examples(workspace.dataset_folder(dataset.fingerprint), split) for split in dataset.counts}
    train = splits.get("train", [])
    taken = {_normal(last_user_text(example.messages)) for rows in splits.values() for example in rows}
    made = make_texts([last_user_text(example.messages) for example in train], wanted, teacher, taken)
    say(f"{len(made)} texts were made of {len(train)}; the teacher labels them.")
    examples = labelled(made, train, teacher)
    whole = in_order([example for rows in splits.values() for example in rows] + examples)
    version = Version(
        name=f"{dataset.name}-augmented",
        examples=whole,
        removed=Counter(),
        parents=(dataset.fingerprint,),
        recipe={"augment": wanted.model_dump(mode="json"), "teacher": names[0]},
        teachers={**dataset.teachers, names[0]: dataset.teachers.get(names[0], 0) + len(examples)},
        may_train=dict(dataset.may_train),
    )
    return save(version, workspace.dataset_folder, workspace.store)


def make_texts(texts: Sequence[str], wanted: Augmentation, teacher: Any, taken: Set[str]) -> list[Made]:
    """`factor` texts for each of `texts`, less those that are there already (`taken`, normalised) or came twice."""
    try:
        ways = Ways.model_validate(wanted.options)
    except ValidationError as exc:
        problems = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        raise RecipeError(
            f"[data.augment.options] cannot be followed: {problems}. They are: {', '.join(Ways.model_fields)}."
        ) from exc
    unique: dict[str, Made] = {}
    for made in Augmenter(texts, _lexicon(texts, teacher), ways, seed=wanted.seed).make(wanted.factor * len(texts)):
        if _normal(made.text) not in taken:
            unique.setdefault(_normal(made.text), made)
    return list(unique.values())


def labelled(made: Sequence[Made], train: Sequence[Example], teacher: Any) -> list[Example]:
    """The texts as examples: the teacher's label to learn, the label of the text that it comes from as the reference."""
    chats = [[{"role": "user", "content": each.text}] for each in made]
    answers = [
        answer for start in range(0, len(chats), ASKED_AT_ONCE) for answer in teacher.answer(chats[start : start + ASKED_AT_ONCE])
    ]
    return [
        Example(
            id=example_id(chat, answer),
            messages=chat,
            answer=answer,
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

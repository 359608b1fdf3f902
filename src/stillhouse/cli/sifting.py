"""What `cot filter` and `cot import` do between their options and the verbs: sieves in order, graders, templates by name."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

from stillhouse.chat import ChatModel
from stillhouse.cli.output import Session
from stillhouse.curation.rationales import Rule, Sieve, read_folder
from stillhouse.curation.rationales import sieves as kinds
from stillhouse.curation.rationales.choosing import CHOICES, Choice, Weighing
from stillhouse.curation.rationales.examples import TRAIN_ON, TrainOn
from stillhouse.curation.rationales.filtering import Filtered, FineTune, filter_file
from stillhouse.dataset import Dataset
from stillhouse.errors import NotFoundError, UsageError
from stillhouse.grading import ForwardedEmbedder
from stillhouse.jobs.rationale_versions import Making, import_rationales
from stillhouse.reasoning import TEMPLATES, Template, template_of
from stillhouse.reasoning.templates import SHAPES, Shape
from stillhouse.records import Record

ALL = "all"


class Wish(Record):
    """What the options say."""

    rule: Rule
    answers: str | None
    by: str
    vote_share: float
    grader: str | None
    judge: str | None
    min_chars: int
    max_chars: int | None
    duplicates: bool
    near: float | None
    truncated: bool
    leaked: bool
    d: int | None
    choose: str
    seed: int
    embedder: str | None
    template: str | None
    shape: str


class FineTuneWish(Record):
    """Where files go, and which samples become fine-tuning data."""

    out: Path | None
    split: str
    part: str
    platform: str


class ImportWish(Record):
    """What else `cot import` is told."""

    name: str
    tasks: tuple[str, ...]
    model: str | None
    key: str | None
    weigh: str
    train_on: str
    split: str
    valid: float
    may_train: str


async def filtered(session: Session, folder: Path, wish: Wish, files: FineTuneWish) -> list[Filtered]:
    """Every file of the folder, sifted. Raises UsageError for words that no option knows."""
    finetune = _finetune(wish, files)
    how = cast("Choice", _one_of("--choose", wish.choose, CHOICES))
    async with AsyncExitStack() as stack:
        sieves = _sieves(session, wish, stack)
        embedder = _embedder(wish)
        vectors = None if embedder is None else ForwardedEmbedder(session.workspace.target, embedder, closes=True)
        return [
            await filter_file(
                reading,
                sieves,
                d=wish.d,
                how=how,
                seed=wish.seed,
                out=files.out,
                finetune=finetune,
                splits=_root(folder),
                embedder=vectors,
            )
            for reading in read_folder(folder, answers=wish.answers)
        ]


def _sieves(session: Session, wish: Wish, stack: AsyncExitStack) -> list[Sieve]:
    """Cheap and certain ones first; a judge, which costs money, last."""
    found: list[Sieve] = [kinds.complete]
    if _one_of("--by", wish.by, ("right", "vote", "any")) != "any":
        found.append(kinds.right_answer(wish.rule) if wish.by == "right" else kinds.majority_vote(wish.vote_share))
    if wish.truncated:
        found.append(kinds.truncated)
    if wish.leaked:
        found.append(kinds.leaked)
    if wish.min_chars or wish.max_chars is not None:
        found.append(kinds.length(wish.min_chars, wish.max_chars))
    if wish.duplicates or wish.near is not None:
        found.append(kinds.duplicates(wish.near))
    if wish.grader is not None:
        found.append(kinds.judged(session.workspace.grader(wish.grader, wish.judge, partial(_closed_with, stack, session))))
    return found


def _embedder(wish: Wish) -> str | None:
    if wish.embedder is not None and (wish.choose != "different" or wish.d is None):
        raise UsageError("--embedder tells the most different rationales: say -d and --choose different, too.")
    return wish.embedder


def _closed_with(stack: AsyncExitStack, session: Session, name: str) -> ChatModel:
    """A judge, closed when the sifting is over."""
    model = session.workspace.chat_model(name)
    stack.push_async_callback(model.close)
    return model


async def imported(session: Session, folder: Path, wish: Wish, more: ImportWish) -> Dataset:
    """A version of the files that are wanted. Raises NotFoundError where none is."""
    readings = [
        reading
        for reading in read_folder(folder, answers=wish.answers)
        if (not more.tasks or reading.task.key in more.tasks)
        and more.model in (None, reading.base_model)
        and more.key in (None, reading.completion_key)
    ]
    if not readings:
        raise NotFoundError(f"{folder} holds no completions of that task, model and key.")
    making = Making(
        d=wish.d,
        how=cast("Choice", _one_of("--choose", wish.choose, CHOICES)),
        seed=wish.seed,
        embedder=_embedder(wish),
        weighing=cast("Weighing", _one_of("--weigh", more.weigh, ("rationale", "question"))),
        template=None if wish.template is None else _template(wish),
        train_on=cast("TrainOn", _one_of("--train-on", more.train_on, TRAIN_ON)),
        split=more.split,
        valid=more.valid,
        may_train=more.may_train,
    )
    async with AsyncExitStack() as stack:
        sieves = _sieves(session, wish, stack)
        return await import_rationales(session.workspace, more.name, readings, _root(folder), sieves, making)


def shown_templates(shape: str) -> list[dict[str, Any]]:
    """Every template that there is for a shape."""
    found = []
    for name in TEMPLATES:
        with suppress(UsageError):
            found.append(template_of(name, cast("Shape", _one_of("--shape", shape, SHAPES))).model_dump(mode="json"))
    return found


def _finetune(wish: Wish, files: FineTuneWish) -> FineTune | None:
    if wish.template is None:
        return None
    if files.out is None:
        raise UsageError("Fine-tuning data is written to a folder: say --out FOLDER too.")
    return FineTune(_template(wish), None if files.split == ALL else files.split, files.part, files.platform)


def _template(wish: Wish) -> Template:
    assert wish.template is not None
    template = template_of(wish.template, cast("Shape", _one_of("--shape", wish.shape, SHAPES)))
    if template.target is None:
        raise UsageError(
            f"The template '{wish.template}' only asks; fine-tuning data is made with one whose name begins with ft_."
        )
    return template


def _root(folder: Path) -> Path:
    """Where `split/` is looked for: beside the completions, however deep `folder` points into them."""
    inner = ("completion_data", "saved")
    for place in (folder, *folder.absolute().parents[:4]):
        if any((place / parent / "split").is_dir() for parent in ("", "data")) and place.name not in inner:
            return place
    return folder


def _one_of(option: str, word: str, words: tuple[str, ...]) -> str:
    if word not in words:
        raise UsageError(f"{option} is one of {', '.join(words)}; got '{word}'.")
    return word

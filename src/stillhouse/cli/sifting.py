"""What `cot filter` and `cot import` do between their options and the verbs: sieves in order, graders, templates by name."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

from stillhouse.chat import ChatModel
from stillhouse.cli.output import Session
from stillhouse.cli.sieve_options import Sieving, rule_of
from stillhouse.cli.similarities import similarity_of
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


class FineTuneWish(Record):
    """Where files go, and which samples become fine-tuning data, in which words."""

    out: Path | None
    template: str | None
    shape: str
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
    template: str | None
    shape: str
    train_on: str
    split: str
    valid: float
    may_train: str


async def filtered(session: Session, folder: Path, sieving: Sieving, wish: FineTuneWish) -> list[Filtered]:
    """Every file of the folder, sifted. Raises UsageError for words that no option knows."""
    rule = rule_of(sieving.rule)
    finetune = _finetune(wish)
    how = cast("Choice", _one_of("--choose", sieving.choose, CHOICES))
    async with AsyncExitStack() as stack:
        sieves = _sieves(session, sieving, rule, stack)
        embedder = _embedder(sieving)
        vectors = None if embedder is None else ForwardedEmbedder(session.workspace.target, embedder, closes=True)
        return [
            await filter_file(
                reading,
                sieves,
                d=sieving.d,
                how=how,
                seed=sieving.seed,
                out=wish.out,
                finetune=finetune,
                splits=_root(folder),
                embedder=vectors,
            )
            for reading in read_folder(folder, answers=sieving.answers)
        ]


def _sieves(session: Session, sieving: Sieving, rule: Rule, stack: AsyncExitStack) -> list[Sieve]:
    """Cheap and certain ones first; a judge, which costs money, last."""
    found: list[Sieve] = [kinds.complete]
    if _one_of("--by", sieving.by, ("right", "vote", "any")) != "any":
        found.append(kinds.right_answer(rule) if sieving.by == "right" else kinds.majority_vote(sieving.vote_share))
    if sieving.truncated:
        found.append(kinds.truncated)
    if sieving.leaked:
        found.append(kinds.leaked)
    if sieving.min_chars or sieving.max_chars is not None:
        found.append(kinds.length(sieving.min_chars, sieving.max_chars))
    near = similarity_of(sieving.near, "--near-duplicates")
    if sieving.duplicates or near is not None:
        found.append(kinds.duplicates(near))
    if sieving.grader is not None:
        found.append(kinds.judged(session.workspace.grader(sieving.grader, sieving.judge, partial(_closed_with, stack, session))))
    return found


def _embedder(sieving: Sieving) -> str | None:
    if sieving.embedder is not None and (sieving.choose != "different" or sieving.d is None):
        raise UsageError("--embedder tells the most different rationales: say -d and --choose different, too.")
    return sieving.embedder


def _closed_with(stack: AsyncExitStack, session: Session, name: str) -> ChatModel:
    """A judge, closed when the sifting is over."""
    model = session.workspace.chat_model(name)
    stack.push_async_callback(model.close)
    return model


async def imported(session: Session, folder: Path, sieving: Sieving, wish: ImportWish) -> Dataset:
    """A version of the files that are wanted. Raises NotFoundError where none is."""
    rule = rule_of(sieving.rule)
    readings = [
        reading
        for reading in read_folder(folder, answers=sieving.answers)
        if (not wish.tasks or reading.task.key in wish.tasks)
        and wish.model in (None, reading.base_model)
        and wish.key in (None, reading.completion_key)
    ]
    if not readings:
        raise NotFoundError(f"{folder} holds no completions of that task, model and key.")
    making = Making(
        d=sieving.d,
        how=cast("Choice", _one_of("--choose", sieving.choose, CHOICES)),
        seed=sieving.seed,
        embedder=_embedder(sieving),
        weighing=cast("Weighing", _one_of("--weigh", wish.weigh, ("rationale", "question"))),
        template=None if wish.template is None else _template(wish.template, wish.shape),
        train_on=cast("TrainOn", _one_of("--train-on", wish.train_on, TRAIN_ON)),
        split=wish.split,
        valid=wish.valid,
        may_train=wish.may_train,
    )
    async with AsyncExitStack() as stack:
        sieves = _sieves(session, sieving, rule, stack)
        return await import_rationales(session.workspace, wish.name, readings, _root(folder), sieves, making)


def shown_templates(shape: str) -> list[dict[str, Any]]:
    """Every template that there is for a shape."""
    found = []
    for name in TEMPLATES:
        with suppress(UsageError):
            found.append(template_of(name, cast("Shape", _one_of("--shape", shape, SHAPES))).model_dump(mode="json"))
    return found


def _finetune(wish: FineTuneWish) -> FineTune | None:
    if wish.template is None:
        return None
    if wish.out is None:
        raise UsageError("Fine-tuning data is written to a folder: say --out FOLDER too.")
    return FineTune(_template(wish.template, wish.shape), None if wish.split == ALL else wish.split, wish.part, wish.platform)


def _template(name: str, shape: str) -> Template:
    template = template_of(name, cast("Shape", _one_of("--shape", shape, SHAPES)))
    if template.target is None:
        raise UsageError(f"The template '{name}' only asks; fine-tuning data is made with one whose name begins with ft_.")
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

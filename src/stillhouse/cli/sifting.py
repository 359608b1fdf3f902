"""What `cot filter` does between its options and the verbs: sieves in their order, graders and templates by name."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from stillhouse.cli.output import Session
from stillhouse.curation.rationales import Rule, Sieve, read_folder
from stillhouse.curation.rationales import sieves as kinds
from stillhouse.curation.rationales.choosing import CHOICES, Choice
from stillhouse.curation.rationales.filtering import Filtered, FineTune, filter_file
from stillhouse.errors import UsageError
from stillhouse.reasoning import template_of
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
    min_chars: int
    max_chars: int | None
    duplicates: bool
    near: float | None
    truncated: bool
    leaked: bool
    d: int | None
    choose: str
    seed: int
    out: Path | None
    template: str | None
    shape: str
    split: str
    part: str
    platform: str


async def filtered(session: Session, folder: Path, wish: Wish) -> list[Filtered]:
    """Every file of the folder, sifted. Raises UsageError for words that no option knows."""
    finetune = _finetune(wish)
    how = cast("Choice", _one_of("--choose", wish.choose, CHOICES))
    sieves = _sieves(session, wish)
    return [
        await filter_file(
            reading, sieves, d=wish.d, how=how, seed=wish.seed, out=wish.out, finetune=finetune, splits=_root(folder)
        )
        for reading in read_folder(folder, answers=wish.answers)
    ]


def _sieves(session: Session, wish: Wish) -> list[Sieve]:
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
        found.append(kinds.judged(session.workspace.grader(wish.grader)))
    return found


def _finetune(wish: Wish) -> FineTune | None:
    if wish.template is None:
        return None
    if wish.out is None:
        raise UsageError("Fine-tuning data is written to a folder: say --out FOLDER too.")
    template = template_of(wish.template, cast("Shape", _one_of("--shape", wish.shape, SHAPES)))
    if template.target is None:
        raise UsageError(
            f"The template '{wish.template}' only asks; fine-tuning data is made with one whose name begins with ft_."
        )
    return FineTune(template, None if wish.split == ALL else wish.split, wish.part, wish.platform)


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

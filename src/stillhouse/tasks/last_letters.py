"""Last-letter concatenation: what do the last letters of these names spell? The answer needs one step a name.

The task is that of the chain-of-thought literature (Wei et al. 2022); names, templates and rationales are our own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice

from stillhouse.tasks.base import Question, conclude
from stillhouse.tasks.words import Pool, distinct_names

NAMES = range(2, 4)
"""How many names a question may have."""

_TEMPLATES = (
    "Join the last letters of {}.",
    "Take the last letter of each name and join them: {}.",
    "What do the last letters of {} spell?",
)


def last_letters(count: int, seed: int = 0, pool: Pool = "teach") -> list[Question]:
    """`count` questions of two or three names."""
    return list(islice(_questions(seed, pool), count))


def _questions(seed: int, pool: Pool) -> Iterator[Question]:
    rng = random.Random(f"last_letters {seed} {pool}")
    names = distinct_names(rng, pool)
    while True:
        chosen = tuple(islice(names, rng.choice(NAMES)))
        answer = "".join(name[-1] for name in chosen)
        yield Question(
            task="last_letters",
            text=rng.choice(_TEMPLATES).format(" ".join(chosen)),
            answer=answer,
            rationales=tuple(conclude(style(chosen), answer) for style in _STYLES),
            names=chosen,
        )


def _steps(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each name and the last letters so far."""
    return zip(names, accumulate(name[-1] for name in names), strict=True)


def _one_by_one(names: Sequence[str]) -> str:
    return " ".join(f"{name} ends in {name[-1]}: {so_far}." for name, so_far in _steps(names))


def _growing(names: Sequence[str]) -> str:
    return "Step by step. " + " ".join(f"{name} gives {name[-1]}, {so_far}." for name, so_far in _steps(names))


def _list(names: Sequence[str]) -> str:
    return "The last letters: " + ", ".join(f"{name} {name[-1]} ({so_far})" for name, so_far in _steps(names)) + "."


def _numbered(names: Sequence[str]) -> str:
    return " ".join(f"{number}) {name}: {name[-1]}, {so_far}." for number, (name, so_far) in enumerate(_steps(names), 1))


_STYLES: tuple[Callable[[Sequence[str]], str], ...] = (_one_by_one, _growing, _list, _numbered)

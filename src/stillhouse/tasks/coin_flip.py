"""Coin flip: people turn a coin over or leave it; is it as it was? The answer is a parity, one step a person.

The task is that of the chain-of-thought literature (Wei et al. 2022), the coin always starting heads up as there; names,
templates and rationales are our own. Every step of a rationale says what the next one needs: a small model learns to write each
word from words that stand there already, where the parity itself would have to be computed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice

from stillhouse.tasks.base import Question, conclude
from stillhouse.tasks.words import Pool, distinct_names

PEOPLE = range(2, 5)
"""How many people a question may have."""

_HEADS, _TAILS = "heads", "tails"
_OPENINGS = ("A coin is heads up.", "A coin lies heads up on the table.")
_FLIPS = ("flips it.", "turns it over.")
_STAYS = ("does not flip it.", "leaves it.")
_CLOSINGS = ("Is it still heads up?", "Is the coin still heads up?")


def coin_flip(count: int, seed: int = 0, pool: Pool = "teach") -> list[Question]:
    """`count` questions of two to four people."""
    return list(islice(_questions(seed, pool), count))


def _questions(seed: int, pool: Pool) -> Iterator[Question]:
    rng = random.Random(f"coin_flip {seed} {pool}")
    names = distinct_names(rng, pool)
    while True:
        people = tuple(islice(names, rng.choice(PEOPLE)))
        flips = [rng.random() < 0.5 for _ in people]
        answer = "no" if sum(flips) % 2 else "yes"
        yield Question(
            task="coin_flip",
            text=_text(rng, people, flips),
            answer=answer,
            rationales=tuple(conclude(style(people, flips), answer) for style in _STYLES),
            names=people,
        )


def _text(rng: random.Random, people: Sequence[str], flips: Sequence[bool]) -> str:
    sentences = [f"{name} {rng.choice(_FLIPS if flip else _STAYS)}" for name, flip in zip(people, flips, strict=True)]
    return " ".join([rng.choice(_OPENINGS), *sentences, rng.choice(_CLOSINGS)])


def _steps(people: Sequence[str], flips: Sequence[bool]) -> Iterator[tuple[str, bool, str, str]]:
    """Name, whether the coin is flipped, the side up before and after."""
    before = _HEADS
    for name, flip in zip(people, flips, strict=True):
        after = {_HEADS: _TAILS, _TAILS: _HEADS}[before] if flip else before
        yield name, flip, before, after
        before = after


def _verdict(steps: str, state: str, flips: Sequence[bool]) -> str:
    return f"{steps} That is {state}: {'no' if sum(flips) % 2 else 'yes'}."


def _walk(start: str, turned: str, left: str, people: Sequence[str], flips: Sequence[bool]) -> str:
    """Person by person: `turned` and `left` say what a step looks like."""
    steps, side = [start], _HEADS
    for name, flip, before, side in _steps(people, flips):
        steps.append((turned if flip else left).format(name=name, before=before, after=side))
    return _verdict(" ".join(steps), side, flips)


def _story(people: Sequence[str], flips: Sequence[bool]) -> str:
    return _walk("It is heads up.", "{name} turns {before} over: {after}.", "{name} leaves {after}.", people, flips)


def _chain(people: Sequence[str], flips: Sequence[bool]) -> str:
    return _walk("Start with heads.", "{name} flips {before}: {after}.", "{name} does not: {after}.", people, flips)


def _making(people: Sequence[str], flips: Sequence[bool]) -> str:
    return _walk("First heads.", "{name} makes {before} {after}.", "{name} keeps {after}.", people, flips)


def _counting(people: Sequence[str], flips: Sequence[bool]) -> str:
    counts = accumulate(flips)
    steps = (f"{name} {'flips' if flip else 'leaves'} {count:d}" for name, flip, count in zip(people, flips, counts, strict=True))
    return _verdict("Count the flips: " + ", ".join(steps) + ".", "odd" if sum(flips) % 2 else "even", flips)


_STYLES: tuple[Callable[[Sequence[str], Sequence[bool]], str], ...] = (_story, _chain, _making, _counting)

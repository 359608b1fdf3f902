"""Coin flip: people turn a coin over or leave it; is it as it was? The answer is a parity, one step a person.

The task is that of the chain-of-thought literature (Wei et al. 2022); names, templates and rationales are our own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice

from stillhouse.tasks.base import Question, conclude
from stillhouse.tasks.words import Pool, distinct_names

PEOPLE = range(2, 7)
"""How many people a question may have."""

_SIDES = ("heads", "tails")
_OPENINGS = ("A coin is {} up.", "A coin lies {} up on the table.")
_FLIPS = ("flips it.", "turns it over.")
_STAYS = ("does not flip it.", "leaves it.")
_CLOSINGS = ("Is it still {} up?", "Is the coin still {} up?")


def coin_flip(count: int, seed: int = 0, pool: Pool = "teach") -> list[Question]:
    """`count` questions of two to six people; no name stands twice."""
    return list(islice(_questions(seed, pool), count))


def _questions(seed: int, pool: Pool) -> Iterator[Question]:
    rng = random.Random(f"coin_flip {seed} {pool}")
    names = distinct_names(rng, pool)
    while True:
        people = tuple(islice(names, rng.choice(PEOPLE)))
        flips = [rng.random() < 0.5 for _ in people]
        side = rng.randrange(2)
        answer = "no" if sum(flips) % 2 else "yes"
        yield Question(
            task="coin_flip",
            text=_text(rng, people, flips, _SIDES[side]),
            answer=answer,
            rationales=tuple(conclude(style(people, flips, side), answer) for style in _STYLES),
            names=people,
        )


def _text(rng: random.Random, people: Sequence[str], flips: Sequence[bool], side: str) -> str:
    sentences = [f"{name} {rng.choice(_FLIPS if flip else _STAYS)}" for name, flip in zip(people, flips, strict=True)]
    return " ".join([rng.choice(_OPENINGS).format(side), *sentences, rng.choice(_CLOSINGS).format(side)])


def _sides(flips: Sequence[bool], start: int) -> list[str]:
    """Which side is up after each person."""
    return [_SIDES[side] for side in accumulate(flips, lambda side, flip: side ^ flip, initial=start)][1:]


def _story(people: Sequence[str], flips: Sequence[bool], side: int) -> str:
    steps = (
        f"{name} {'flips it' if flip else 'does not'}: {up}."
        for name, flip, up in zip(people, flips, _sides(flips, side), strict=True)
    )
    return " ".join([f"It is {_SIDES[side]} up.", *steps])


def _chain(people: Sequence[str], flips: Sequence[bool], side: int) -> str:
    steps = (f"{name}: {up}" for name, up in zip(people, _sides(flips, side), strict=True))
    return f"Start with {_SIDES[side]}. " + ", ".join(steps) + "."


def _counting(people: Sequence[str], flips: Sequence[bool], side: int) -> str:
    counts = accumulate(flips, lambda count, flip: count + flip, initial=0)
    steps = (f"{name} {count}" for name, count in zip(people, list(counts)[1:], strict=True))
    return "Count the flips: " + ", ".join(steps) + f". That is {'odd' if sum(flips) % 2 else 'even'}."


def _making(people: Sequence[str], flips: Sequence[bool], side: int) -> str:
    steps = (
        f"{name} {'makes' if flip else 'keeps'} it {up}."
        for name, flip, up in zip(people, flips, _sides(flips, side), strict=True)
    )
    return " ".join([f"First {_SIDES[side]}.", *steps])


_STYLES: tuple[Callable[[Sequence[str], Sequence[bool], int], str], ...] = (_story, _chain, _counting, _making)

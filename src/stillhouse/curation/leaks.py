"""Questions of the train split that stand in valid or test too: an evaluation on them would measure memory.

A leak is shown as a pair, not as a number: near-duplicates are sometimes two honest questions, and only a person can tell.
"""

from __future__ import annotations

from collections.abc import Sequence

from stillhouse.curation.similarity import NearIndex, prompt_text, sketches
from stillhouse.dataset import Example, Split
from stillhouse.errors import UsageError
from stillhouse.records import Record

NEAR_LEAKS = 0.9
"""Similarity from which two prompts ask the same, where nobody says another."""
SHOWN = 10
"""Pairs that a message quotes."""
EXCERPT = 100


class Leak(Record):
    """A row of train and a row that the student is measured on, which ask the same."""

    train: str
    """Source of the train row, or its id."""
    other: str
    split: Split
    """Of the other row."""
    similarity: float
    """1.0: equal once normalised."""
    train_text: str
    other_text: str


class LeakError(UsageError):
    """The leak check failed; `leaks` are the pairs."""

    code = "leak"

    def __init__(self, leaks: Sequence[Leak], allowed: int) -> None:
        super().__init__(_message(leaks, allowed))
        self.leaks = list(leaks)


def find_leaks(examples: Sequence[Example], near: float | None) -> list[Leak]:
    """Every pair of a train row and a valid or test row with the same prompt, or one at least `near` alike."""
    return [
        Leak(
            train=_name(train),
            other=_name(other),
            split=other.split,
            similarity=round(similarity, 4),
            train_text=_excerpt(train),
            other_text=_excerpt(other),
        )
        for train, other, similarity in leaking_pairs(examples, near)
    ]


def leaking_pairs(examples: Sequence[Example], near: float | None) -> list[tuple[Example, Example, float]]:
    """(train row, other row, similarity), the most alike first."""
    held_out = [position for position, example in enumerate(examples) if example.split != "train"]
    if not held_out or len(held_out) == len(examples):
        return []
    pairs = _equal(examples, held_out) + (_near(examples, held_out, near) if near is not None else [])
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0].id, pair[1].id))


def pairs_shown(leaks: Sequence[Leak]) -> str:
    """The first pairs, two lines each."""
    lines = [
        f"  {leak.similarity:.2f}  train {leak.train}: {leak.train_text}\n"
        f"        {leak.split} {leak.other}: {leak.other_text}"
        for leak in leaks[:SHOWN]
    ]
    return "\n".join([*lines, *([f"  ... and {len(leaks) - SHOWN} more"] if len(leaks) > SHOWN else [])])


def _equal(examples: Sequence[Example], held_out: Sequence[int]) -> list[tuple[Example, Example, float]]:
    of_group: dict[str, list[Example]] = {}
    for position in held_out:
        of_group.setdefault(examples[position].group, []).append(examples[position])
    train = (example for example in examples if example.split == "train")
    return [(example, other, 1.0) for example in train for other in of_group.get(example.group, ())]


def _near(examples: Sequence[Example], held_out: Sequence[int], near: float) -> list[tuple[Example, Example, float]]:
    found = sketches([prompt_text(example.messages) for example in examples])
    index = NearIndex(near)
    for position in held_out:
        index.add(position, found[position])
    return [
        (example, examples[other], similarity)
        for example, sketch in zip(examples, found, strict=True)
        if example.split == "train"
        for other, similarity in index.near(sketch)
        if examples[other].group != example.group
    ]


def _message(leaks: Sequence[Leak], allowed: int) -> str:
    equal = sum(leak.similarity == 1.0 for leak in leaks)
    return (
        f"The leak check found {len(leaks)} pairs of a train question and one the student is measured on: {equal} equal, "
        f"{len(leaks) - equal} nearly.\n{pairs_shown(leaks)}\n"
        f"Take them out of train with --drop-leaks, or accept this many with --allow-leaks {len(leaks)}"
        + (f" ({allowed} are accepted now)." if allowed else ".")
    )


def _name(example: Example) -> str:
    return example.source or example.id


def _excerpt(example: Example) -> str:
    text = prompt_text(example.messages)
    return text if len(text) <= EXCERPT else text[:EXCERPT] + "..."

"""Questions of one split that stand in another too: an evaluation on them would measure memory, or what was chosen by them.

A leak is shown as a pair, not as a number: near-duplicates are sometimes two honest questions, and only a person can tell.
"""

from __future__ import annotations

from collections.abc import Sequence

from stillhouse.curation.similarity import NearIndex, prompt_text, sketches
from stillhouse.dataset import SPLITS, Example, Split
from stillhouse.errors import UsageError
from stillhouse.records import Record

NEAR_LEAKS = 0.9
"""Similarity from which two prompts ask the same, where nobody says another."""
SHOWN = 10
"""Pairs that a message quotes."""
EXCERPT = 100


class Leak(Record):
    """A row of train or valid and a row of a later split, which ask the same."""

    seen: str
    """Source of the row that the student is trained or chosen by, or its id."""
    seen_split: Split
    other: str
    split: Split
    """Of the other row."""
    similarity: float
    """1.0: equal once normalised."""
    seen_text: str
    other_text: str


class LeakError(UsageError):
    """The leak check failed; `leaks` are the pairs."""

    code = "leak"

    def __init__(self, leaks: Sequence[Leak], allowed: int) -> None:
        super().__init__(_message(leaks, allowed))
        self.leaks = list(leaks)


def find_leaks(examples: Sequence[Example], near: float | None) -> list[Leak]:
    """Every pair of rows of two splits with the same prompt, or one at least `near` alike."""
    return [
        Leak(
            seen=_name(seen),
            seen_split=seen.split,
            other=_name(other),
            split=other.split,
            similarity=round(similarity, 4),
            seen_text=_excerpt(seen),
            other_text=_excerpt(other),
        )
        for seen, other, similarity in leaking_pairs(examples, near)
    ]


def leaking_pairs(examples: Sequence[Example], near: float | None) -> list[tuple[Example, Example, float]]:
    """(train or valid row, row of a later split, similarity), the most alike first."""
    if len({example.split for example in examples}) < 2:
        return []
    held_out = [position for position, example in enumerate(examples) if example.split != "train"]
    pairs = _equal(examples, held_out) + (_near(examples, held_out, near) if near is not None else [])
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0].id, pair[1].id))


def pairs_shown(leaks: Sequence[Leak]) -> str:
    """The first pairs, two lines each."""
    lines = [
        f"  {leak.similarity:.2f}  {leak.seen_split} {leak.seen}: {leak.seen_text}\n"
        f"        {leak.split} {leak.other}: {leak.other_text}"
        for leak in leaks[:SHOWN]
    ]
    return "\n".join([*lines, *([f"  ... and {len(leaks) - SHOWN} more"] if len(leaks) > SHOWN else [])])


def _equal(examples: Sequence[Example], held_out: Sequence[int]) -> list[tuple[Example, Example, float]]:
    of_group: dict[str, list[Example]] = {}
    for position in held_out:
        of_group.setdefault(examples[position].group, []).append(examples[position])
    return [(seen, other, 1.0) for seen in examples for other in of_group.get(seen.group, ()) if _later(other, seen)]


def _near(examples: Sequence[Example], held_out: Sequence[int], near: float) -> list[tuple[Example, Example, float]]:
    found = sketches([prompt_text(example.messages) for example in examples])
    index = NearIndex(near)
    for position in held_out:
        index.add(position, found[position])
    return [
        (example, examples[other], similarity)
        for example, sketch in zip(examples, found, strict=True)
        if example.split != "test"
        for other, similarity in index.near(sketch)
        if examples[other].group != example.group and _later(examples[other], example)
    ]


def _later(other: Example, example: Example) -> bool:
    return SPLITS.index(other.split) > SPLITS.index(example.split)


def _message(leaks: Sequence[Leak], allowed: int) -> str:
    equal = sum(leak.similarity == 1.0 for leak in leaks)
    return (
        f"The leak check found {len(leaks)} pairs of questions that stand in two splits: {equal} equal, "
        f"{len(leaks) - equal} nearly.\n{pairs_shown(leaks)}\n"
        f"Take them out of the earlier split with --drop-leaks, or accept this many with --allow-leaks {len(leaks)}"
        + (f" ({allowed} are accepted now)." if allowed else ".")
    )


def _name(example: Example) -> str:
    return example.source or example.id


def _excerpt(example: Example) -> str:
    text = prompt_text(example.messages)
    return text if len(text) <= EXCERPT else text[:EXCERPT] + "..."

"""Which rows say again what another row says.

exact  the same prompt and the same answer, both normalised (case, white space, Unicode form)
near   prompts and answers that are both nearly the same; the first of them stays

The same prompt with another answer stays: several ways to reason to one answer are what a student learns best from. And a
nearly equal prompt with another answer stays: it is the most telling neighbour there is, a number or a `not` apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stillhouse.curation.similarity import NearIndex, gram_hashes, prompt_text, shared_grams, sketches
from stillhouse.dataset import Example
from stillhouse.prompts import normalise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXACT, NEAR = "exact duplicate", "near duplicate"


def without_duplicates(examples: Sequence[Example], near: float | None) -> tuple[list[Example], Counter[str]]:
    """The examples that stay, in order, and how many went by which rule. Splits are looked at one by one.

    `near` is the similarity from which two texts count as nearly the same; None: only exact duplicates go.
    """
    removed: Counter[str] = Counter()
    kept = _without_exact(examples)
    removed[EXACT] = len(examples) - len(kept)
    if near is not None:
        rest = _without_near(kept, near)
        removed[NEAR] = len(kept) - len(rest)
        kept = rest
    return kept, +removed


def identity(example: Example) -> tuple[str, str]:
    """What exact duplicates have in common."""
    return example.group, normalise(example.answer)


def _without_exact(examples: Sequence[Example]) -> list[Example]:
    first: dict[tuple[str, str, str], Example] = {}
    for example in examples:
        first.setdefault((example.split, *identity(example)), example)
    return list(first.values())


def _without_near(examples: Sequence[Example], threshold: float) -> list[Example]:
    prompts = sketches([prompt_text(example.messages) for example in examples])
    index = NearIndex(threshold)
    kept: list[Example] = []
    for position, example in enumerate(examples):
        copies = (
            other
            for other, _ in index.near(prompts[position])
            if examples[other].group != example.group
            and examples[other].split == example.split
            and shared_grams(_answer_grams(examples[other]), _answer_grams(example)) >= threshold
        )
        if next(copies, None) is None:
            kept.append(example)
            index.add(position, prompts[position])
    return kept


def _answer_grams(example: Example) -> NDArray[np.uint32]:
    return gram_hashes(normalise(example.answer))

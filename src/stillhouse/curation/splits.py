"""Which split a row belongs to: drawn by the hash of its normalised prompt and a seed, so it is the same in every version.

Rows of one prompt, and prompts that are nearly the same, stand on one side; nothing is drawn by chance or by position.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from stillhouse.curation.similarity import FEW, Groups, NearIndex, prompt_text, sketches
from stillhouse.dataset import SPLITS, Example, Split
from stillhouse.errors import UsageError

LARGEST_GROUP = 0.5
"""A group of near-duplicates with a larger share of the prompts than this is an error: no split can be drawn around it."""


def drawn_split(group: str, shares: Sequence[float], seed: int) -> Split:
    """The split of a prompt group, by its hash alone."""
    digest = hashlib.sha256(f"{seed} {group}".encode()).digest()
    point = int.from_bytes(digest[:8], "big") / 2**64
    for split, share in zip(SPLITS, shares, strict=True):
        point -= share
        if point < 0:
            return split
    return "train"  # the shares' sum was a rounding error below 1


def split_examples(examples: Sequence[Example], shares: Sequence[float], seed: int, near: float | None) -> list[Example]:
    """The examples with their splits drawn. `near`: from which similarity on two prompts must stand on one side.

    Raises UsageError for shares that are none, and when near-duplicates join so many prompts that no split is left to draw.
    """
    check_shares(shares)
    first = {example.group: example for example in reversed(examples)}
    groups = sorted(first)
    together = _together([first[group] for group in groups], near) if near is not None else groups
    split_of = {group: drawn_split(chief, shares, seed) for group, chief in zip(groups, together, strict=True)}
    return [example.model_copy(update={"split": split_of[example.group]}) for example in examples]


def check_shares(shares: Sequence[float]) -> None:
    """Raises UsageError unless there are three shares, none negative, that make 1."""
    if len(shares) != len(SPLITS) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise UsageError(f"A split needs three shares (train, valid, test) that make 1, as in 0.8,0.1,0.1; got {list(shares)}.")


def _together(prompts: Sequence[Example], near: float) -> list[str]:
    """For each prompt (sorted by group) the first group among those it is tied to by near-duplicates."""
    index, ties = NearIndex(near), Groups(len(prompts))
    for position, sketch in enumerate(sketches([prompt_text(example.messages) for example in prompts])):
        seen: set[int] = set()
        for other in index.candidates(sketch):
            root = ties.find(other)
            if root not in seen and index.similarity(other, sketch) >= near:
                seen.add(root)
                ties.union(root, position)
        index.add(position, sketch)
    roots = [ties.find(position) for position in range(len(prompts))]
    _check_sizes(Counter(roots), near)
    chief: dict[int, str] = {}
    for root, example in zip(roots, prompts, strict=True):
        chief.setdefault(root, example.group)
    return [chief[root] for root in roots]


def _check_sizes(sizes: Counter[int], near: float) -> None:
    total, largest = sizes.total(), max(sizes.values(), default=0)
    if total >= FEW and largest > LARGEST_GROUP * total:
        raise UsageError(
            f"At a similarity of {near}, near-duplicates tie {largest} of {total} different prompts to each other, so they "
            f"cannot stand on different sides of a split. Raise --near-leaks (0.95, 0.98), or say off."
        )

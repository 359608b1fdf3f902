"""The paper's splits: as published by the owners for AQuA, GSM8K and CommonsenseQA, else 70 to 30 drawn by its own rule.

The rule is that of its code (`numpy.random.RandomState(0).permutation`), which gives the very indices of its split files.
"""

from __future__ import annotations

from collections.abc import Sequence

from stillhouse.errors import UsageError

PUBLISHED = {"aqua": (97467, 254), "gsm8k": (7473, 1319), "commonsense_qa": (9741, 1221)}
"""Train and test questions, in this order in the file. Of AQuA's, 10,000 are drawn for training."""
AQUA_TRAINED = 10_000
SHARE = 0.7


def default_split(key: str, size: int) -> dict[str, list[int]]:
    """`{"train", "test"}` of a task's `size` questions. Where a file holds another number than the published, they are drawn."""
    train, test = PUBLISHED.get(key, (0, 0))
    if size and size == train + test:
        trained = _drawn(range(train), AQUA_TRAINED) if key == "aqua" else list(range(train))
        return {"train": trained, "test": list(range(train, size))}
    order = _permuted(range(size))
    cut = round(size * SHARE)
    return {"train": sorted(order[:cut]), "test": sorted(order[cut:])}


def few_shot_subset(indices: Sequence[int], count: int) -> list[int]:
    """The paper's smaller training sets (8, 32, 128 questions): `count` drawn ones. Raises UsageError for too many."""
    if count > len(indices):
        raise UsageError(f"{count} samples were asked for, and there are {len(indices)}.")
    return _drawn(indices, count)


def _drawn(indices: Sequence[int], count: int) -> list[int]:
    return sorted(_permuted(indices)[:count])


def _permuted(indices: Sequence[int]) -> list[int]:
    import numpy as np

    return [int(index) for index in np.random.RandomState(0).permutation(list(indices))]

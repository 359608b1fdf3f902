"""Which examples make up a step.

The order of an epoch is a permutation computed from (seed, epoch), so the position in the data is the step number and a resumed
run needs no replay. How examples become tensors is each student kind's own (`students/collating.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

POOL = 64
"""Windows that are sorted by length together: large enough for little padding, small enough to stay random."""


class Order:
    """The examples of every step: a window of `batch_size * accumulate`, cut into micro-batches.

    Each example comes once an epoch; only an epoch's last window can be smaller. How a window is cut does not change which
    examples are in it.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, accumulate: int, seed: int, bucket: bool) -> None:
        self.lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self.window = batch_size * accumulate
        self.seed = seed
        self.bucket = bucket
        self._epoch = lru_cache(maxsize=1)(self._make_epoch)

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.lengths) // self.window)

    def micro_batches(self, step: int) -> list[list[int]]:
        """Indices of the examples of step `step` (from 0), micro-batch by micro-batch."""
        epoch, position = divmod(step, self.steps_per_epoch)
        window = self._epoch(epoch)[position]
        return self.cut(window)

    def cut(self, window: Sequence[int]) -> list[list[int]]:
        """A window as micro-batches."""
        return [list(window[start : start + self._batch_size]) for start in range(0, len(window), self._batch_size)]

    def _make_epoch(self, epoch: int) -> list[list[int]]:
        random = np.random.Generator(np.random.Philox(key=np.array([self.seed % 2**64, epoch], dtype=np.uint64)))
        order = random.permutation(len(self.lengths))
        if self.bucket:
            order = self._sorted_by_length(order)
        windows = [order[start : start + self.window].tolist() for start in range(0, len(order), self.window)]
        return [windows[i] for i in random.permutation(len(windows))] if self.bucket else windows

    def _sorted_by_length(self, order: np.ndarray) -> np.ndarray:
        pool = self.window * POOL
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        return np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])

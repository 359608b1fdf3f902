"""Which examples make up a step, and a micro-batch as tensors.

The order of an epoch is a permutation computed from (seed, epoch), so the position in the data is the step number and a resumed
run needs no replay. `collate` is the one place where labels are shifted against inputs.

Shapes: B examples, T positions (padded), N supervised positions of the whole micro-batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from stillhouse.students.causal import Encoded

POOL = 64
"""Windows that are sorted by length together: large enough for little padding, small enough to stay random."""


class Order:
    """The examples of every step: a window of `batch_size * accumulate`, cut into micro-batches.

    Each example comes once an epoch; only an epoch's last window can be smaller. How a window is cut does not change which
    examples are in it.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, accumulate: int, seed: int, bucket: bool) -> None:
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._window = batch_size * accumulate
        self._seed = seed
        self._bucket = bucket
        self._epoch = lru_cache(maxsize=1)(self._make_epoch)

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self._lengths) // self._window)

    def micro_batches(self, step: int) -> list[list[int]]:
        """Indices of the examples of step `step` (from 0), micro-batch by micro-batch."""
        epoch, position = divmod(step, self.steps_per_epoch)
        window = self._epoch(epoch)[position]
        return [window[start : start + self._batch_size] for start in range(0, len(window), self._batch_size)]

    def _make_epoch(self, epoch: int) -> list[list[int]]:
        random = np.random.Generator(np.random.Philox(key=np.array([self._seed % 2**64, epoch], dtype=np.uint64)))
        order = random.permutation(len(self._lengths))
        if self._bucket:
            order = self._sorted_by_length(order)
        windows = [order[start : start + self._window].tolist() for start in range(0, len(order), self._window)]
        return [windows[i] for i in random.permutation(len(windows))] if self._bucket else windows

    def _sorted_by_length(self, order: np.ndarray) -> np.ndarray:
        pool = self._window * POOL
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        return np.concatenate([pool[np.argsort(self._lengths[pool], kind="stable")] for pool in pools])


@dataclass(frozen=True)
class Batch:
    """A micro-batch."""

    examples: tuple[str, ...]
    """Ids, for messages."""
    tokens_BT: Tensor
    """Padded on the right, so that under a causal mask no token sees the padding."""
    positions_N: Tensor
    """Where in the flattened B*T positions the supervised tokens are predicted: one before where they stand."""
    targets_N: Tensor
    """The supervised tokens."""
    weights_N: Tensor
    """The weight of each one's example."""
    real_tokens: int
    """Without padding."""

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return replace(
            self,
            tokens_BT=self.tokens_BT.to(device),
            positions_N=self.positions_N.to(device),
            targets_N=self.targets_N.to(device),
            weights_N=self.weights_N.to(device),
        )


def collate(rows: Sequence[Encoded], pad_id: int) -> Batch:
    """Rows of token ids as one micro-batch."""
    width = max(len(row.tokens) for row in rows)
    tokens_BT = np.full((len(rows), width), pad_id, dtype=np.int64)
    positions, weights = [], []
    for i, row in enumerate(rows):
        tokens_BT[i, : len(row.tokens)] = row.tokens
        first, last = row.answer_start - 1, len(row.tokens) - 1
        positions.append(np.arange(first, last) + i * width)
        weights.append(np.full(last - first, row.weight, dtype=np.float32))
    positions_N = np.concatenate(positions)
    return Batch(
        examples=tuple(row.example for row in rows),
        tokens_BT=torch.from_numpy(tokens_BT),
        positions_N=torch.from_numpy(positions_N),
        targets_N=torch.from_numpy(tokens_BT.reshape(-1)[positions_N + 1]),
        weights_N=torch.from_numpy(np.concatenate(weights)),
        real_tokens=sum(len(row.tokens) for row in rows),
    )

"""Slices of a micro-batch's rows: what is asked of it, which of its rows count, and how many of them stand at once.

Two sizes: a tile of rows for the matrix products, whose one buffer is used again for every tile, and within it a block of rows
for everything elementwise, small enough to stay in the processor's cache. Shapes: N supervised rows, M of them, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from stillhouse.losses.base import Loss, Rows
from stillhouse.losses.sources import Source
from stillhouse.tensors import Head

TILE_BYTES = {"cpu": 32 << 20, "cuda": 64 << 20}
"""Scores of a tile, by device."""
FEWEST_ROWS = 96
"""Of a tile, however large the vocabulary: with fewer, the products wait for the weights to be read."""
BLOCK_BYTES = 512 << 10
"""Scores of a block, for each thread."""


@dataclass(frozen=True)
class Work:
    """What is computed, beside the tensors that gradients are asked for."""

    head: Head
    tokens_N: Tensor
    ce_N: Tensor
    kd_N: Tensor | None = None
    loss: Loss | None = None
    source: Source | None = None
    temperature_N: Tensor | None = None
    tile: int | None = None
    """Bytes of scores that stand at once; None: what suits the device."""


@dataclass(frozen=True)
class Plan:
    """What is known of a micro-batch before it is begun: the one time that the processor waits for the device."""

    kept: Tensor | None
    """Indices of the rows that have a weight; None: all."""
    count: int
    """How many."""
    cross_entropy: bool
    """Whether any row's has a weight. Its value is reported in any case."""
    size: int
    """Scores that are compared with the teacher's."""
    plain: bool
    """All of the student's scores are compared, at temperature 1: one softmax does for both."""

    @classmethod
    def of(cls, work: Work) -> Plan:
        """By the weights and temperatures of its rows."""
        size = work.head.size if work.source is None else min(work.head.size, work.source.vocabulary)
        by_ce_N = work.ce_N != 0
        kept_N = by_ce_N if work.kd_N is None else by_ce_N | (work.kd_N != 0)
        soft_N = torch.zeros_like(kept_N) if work.temperature_N is None else work.temperature_N != 1
        known_3N = torch.stack([kept_N, by_ce_N, soft_N]).cpu()
        count = int(known_3N[0].sum())
        everything = count == len(kept_N)
        kept = None if everything else known_3N[0].nonzero().squeeze(-1).to(work.ce_N.device)
        plain = size == work.head.size and not bool(known_3N[2].any())
        return cls(kept, count, bool(known_3N[1].any()), size, plain)

    def tiles(self, size: int) -> Iterator[tuple[Rows, int]]:
        """The rows of each tile, and how many they are."""
        for start in range(0, self.count, size):
            stop = min(start + size, self.count)
            yield (slice(start, stop) if self.kept is None else self.kept[start:stop]), stop - start


def tile_rows(row_bytes: int, count: int, tile: int | None, device: torch.device) -> int:
    """Rows of a tile, all tiles alike: as many as its bytes hold, but enough to make a product worth while."""
    if tile is not None:
        return max(1, tile // row_bytes)
    most = max(FEWEST_ROWS, TILE_BYTES.get(device.type, TILE_BYTES["cuda"]) // row_bytes)
    return max(1, math.ceil(count / max(1, math.ceil(count / most))))


def block_rows(scores_MV: Tensor) -> int:
    """Rows of a block: what every core's own cache holds; on an accelerator the whole tile."""
    if scores_MV.device.type != "cpu":
        return max(1, len(scores_MV))
    threads = torch.get_num_threads()
    return max(threads, threads * BLOCK_BYTES // (scores_MV.shape[-1] * scores_MV.element_size()))

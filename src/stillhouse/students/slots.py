"""The key/value cache of a running batch: one slot a row, each row with its own length, in one tensor a layer.

A row begins at column 0 of its slot, so rows of any length stand side by side, join and leave without moving the others; the
columns past a row's length are masked. Slots 0 .. rows - 1 are in use: when a row leaves, the last one moves into its place.
Only full attention is kept here; layers with other states (linear attention, convolutions) are refused by whoever builds it.

Shapes: S slots, B rows in this pass, H heads, Q new positions, T columns, D head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

COLUMNS = 128
"""Columns at first; doubled when a row needs more."""


class SlotCache(Cache):  # type: ignore[misc]  # transformers is untyped here
    """What transformers' decoders call a cache: `write` says where the next forward pass belongs, `update` puts it there."""

    def __init__(self, layers: int, slots: int) -> None:
        super().__init__(layers=[SlotLayer(self) for _ in range(layers)])
        self.slots = slots
        self.rows_B: Tensor = torch.zeros(0, dtype=torch.long)
        self.at_B: Tensor | None = None
        self.width = 0

    def write_prompts(self, first_slot: int, rows: int, width: int) -> None:
        """The next pass holds whole prompts, right-padded to `width`, for slots `first_slot` and on."""
        self.rows_B = torch.arange(first_slot, first_slot + rows)
        self.at_B = None
        self.width = width

    def write_tokens(self, length_B: Tensor, width: int) -> None:
        """The next pass holds one token for each of slots 0 .. B - 1, to stand at column `length`; `width` is the longest + 1."""
        self.rows_B = torch.arange(len(length_B))
        self.at_B = length_B
        self.width = width

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row of `length` columns into another slot."""
        for layer in self.layers:
            for states_SHTD in (layer.keys, layer.values):
                states_SHTD[target, :, :length] = states_SHTD[source, :, :length]


class SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's keys and values."""

    is_sliding = False

    def __init__(self, cache: SlotCache) -> None:
        super().__init__()
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self._cache = cache
        self.is_initialized = True

    def update(self, keys_BHQD: Tensor, values_BHQD: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Store the new states; give back what the new positions may look at."""
        cache = self._cache
        self.keys = keys_SHTD = _reserve(self.keys, keys_BHQD, cache.slots, cache.width)
        self.values = values_SHTD = _reserve(self.values, values_BHQD, cache.slots, cache.width)
        if cache.at_B is None:
            keys_SHTD[cache.rows_B, :, : cache.width] = keys_BHQD
            values_SHTD[cache.rows_B, :, : cache.width] = values_BHQD
            return keys_BHQD, values_BHQD
        keys_SHTD[cache.rows_B, :, cache.at_B] = keys_BHQD[:, :, 0]
        values_SHTD[cache.rows_B, :, cache.at_B] = values_BHQD[:, :, 0]
        rows = len(cache.rows_B)
        return keys_SHTD[:rows, :, : cache.width], values_SHTD[:rows, :, : cache.width]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: `update` reserves."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._cache.width, 0

    def get_seq_length(self) -> int:
        return self._cache.width

    def get_max_length(self) -> int:
        return -1


def _reserve(states_SHTD: Tensor | None, like_BHQD: Tensor, slots: int, width: int) -> Tensor:
    """The same states with room for `width` columns at least."""
    have = 0 if states_SHTD is None else states_SHTD.shape[2]
    if states_SHTD is not None and have >= width:
        return states_SHTD
    columns = max(COLUMNS, have)
    while columns < width:
        columns *= 2
    new_SHTD = like_BHQD.new_zeros(slots, like_BHQD.shape[1], columns, like_BHQD.shape[3])
    if states_SHTD is not None:
        new_SHTD[:, :, :have] = states_SHTD
    return new_SHTD

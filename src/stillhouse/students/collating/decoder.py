"""A decoder's micro-batch: its labels are shifted against its inputs here, nowhere else.

Shapes: B examples, T positions (padded), N supervised rows of the whole micro-batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from stillhouse.tensors import Batch, Encoded, side_by_side


def collate_decoder(rows: Sequence[Encoded], pad_id: int) -> Batch:
    """Prompt and answer in one row, padded on the right. Each answer token is predicted one position before where it stands."""
    rows = side_by_side(rows)
    width = max(len(row.tokens) for row in rows)
    starts = [i * width for i in range(len(rows))]
    tokens_BT = _laid_out(rows, starts, (len(rows), width), pad_id)
    return _batch(rows, starts, tokens_BT, {"input_ids": torch.from_numpy(tokens_BT)})


def pack_decoder(rows: Sequence[Encoded], pad_id: int) -> Batch:
    """The same, with short examples one after the other in rows as long as the longest.

    Positions begin again with each example: from that transformers sees that none may look at the one before it
    (`masking_utils.find_packed_sequence_indices`; it takes an attention mask to be absent). Supervised rows stay in the examples'
    order, so a teacher's cache is read as ever.
    """
    rows = side_by_side(rows)
    width = max(len(row.tokens) for row in rows)
    starts, count = _fit([len(row.tokens) for row in rows], width)
    tokens_BT = _laid_out(rows, starts, (count, width), pad_id)
    places_BT = np.zeros_like(tokens_BT)
    for row, start in zip(rows, starts, strict=True):
        places_BT.reshape(-1)[start : start + len(row.tokens)] = np.arange(len(row.tokens))
    inputs = {"input_ids": torch.from_numpy(tokens_BT), "position_ids": torch.from_numpy(places_BT)}
    return _batch(rows, starts, tokens_BT, inputs)


def _fit(lengths: Sequence[int], width: int) -> tuple[list[int], int]:
    """Where each example begins in the flattened rows, and the number of rows: the longest first, each where it fits first."""
    room: list[int] = []
    starts = [0] * len(lengths)
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        row = next((r for r, left in enumerate(room) if left >= lengths[i]), len(room))
        if row == len(room):
            room.append(width)
        starts[i] = row * width + width - room[row]
        room[row] -= lengths[i]
    return starts, len(room)


def _laid_out(rows: Sequence[Encoded], starts: Sequence[int], shape: tuple[int, int], pad_id: int) -> np.ndarray:
    tokens_BT = np.full(shape, pad_id, dtype=np.int64)
    for row, start in zip(rows, starts, strict=True):
        tokens_BT.reshape(-1)[start : start + len(row.tokens)] = row.tokens
    return tokens_BT


def _batch(rows: Sequence[Encoded], starts: Sequence[int], tokens_BT: np.ndarray, inputs: Mapping[str, Tensor]) -> Batch:
    """`starts`: where each example begins in the flattened `tokens_BT`."""
    counts = [row.rows for row in rows]
    first = [start + row.answer_start - 1 for start, row in zip(starts, rows, strict=True)]
    positions_N = np.concatenate([np.arange(at, at + count) for at, count in zip(first, counts, strict=True)])
    return Batch(
        examples=tuple(row.example for row in rows),
        inputs=inputs,
        positions_N=torch.from_numpy(positions_N),
        targets_N=torch.from_numpy(tokens_BT.reshape(-1)[positions_N + 1]),
        weights_N=torch.tensor([weight for row in rows for weight in row.row_weights], dtype=torch.float32),
        owners_N=torch.from_numpy(np.repeat(np.arange(len(rows)), counts)),
        real_tokens=sum(len(row.tokens) for row in rows),
        tasks=tuple(row.task for row in rows),
        extra={name: torch.tensor([value for row in rows for value in row.extra[name]]) for name in rows[0].extra},
    )

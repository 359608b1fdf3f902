"""A decoder's micro-batch: its labels are shifted against its inputs here, nowhere else.

Shapes: B examples, T positions (padded), N supervised rows of the whole micro-batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from stillhouse.tensors import Batch, Encoded, side_by_side


def collate_decoder(rows: Sequence[Encoded], pad_id: int) -> Batch:
    """Prompt and answer in one row, padded on the right. Each answer token is predicted one position before where it stands."""
    rows = side_by_side(rows)
    width = max(len(row.tokens) for row in rows)
    tokens_BT = np.full((len(rows), width), pad_id, dtype=np.int64)
    positions, weights, owners = [], [], []
    for i, row in enumerate(rows):
        tokens_BT[i, : len(row.tokens)] = row.tokens
        first, last = row.answer_start - 1, len(row.tokens) - 1
        positions.append(np.arange(first, last) + i * width)
        weights.append(np.full(last - first, row.weight, dtype=np.float32))
        owners.append(np.full(last - first, i, dtype=np.int64))
    positions_N = np.concatenate(positions)
    return Batch(
        examples=tuple(row.example for row in rows),
        inputs={"input_ids": torch.from_numpy(tokens_BT)},
        positions_N=torch.from_numpy(positions_N),
        targets_N=torch.from_numpy(tokens_BT.reshape(-1)[positions_N + 1]),
        weights_N=torch.from_numpy(np.concatenate(weights)),
        owners_N=torch.from_numpy(np.concatenate(owners)),
        real_tokens=sum(len(row.tokens) for row in rows),
        tasks=tuple(row.task for row in rows),
        extra={name: torch.tensor([value for row in rows for value in row.extra[name]]) for name in rows[0].extra},
    )

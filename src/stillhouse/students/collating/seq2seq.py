"""An encoder-decoder's micro-batch: its answers are shifted against the decoder's inputs here, nowhere else.

Shapes: B examples, T input positions (padded), U decoder positions (padded), N supervised rows of the whole micro-batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from stillhouse.tensors import Batch, Encoded, side_by_side


def collate_seq2seq(rows: Sequence[Encoded], *, pad_id: int, start_id: int) -> Batch:
    """Inputs padded on the right and masked; the decoder reads the start token and all of the answer but its last token.

    Position u of the decoder predicts token u of the answer, so every answer token is a supervised row; padding on its right is
    out of sight under the causal mask. `positions_N` count in the decoder's flattened B x U output.
    """
    rows = side_by_side(rows)
    tokens_BT = _padded([row.tokens for row in rows], pad_id)
    mask_BT = _padded([[1] * len(row.tokens) for row in rows], 0)
    read_BU = _padded([(start_id, *(int(token) for token in row.targets[:-1])) for row in rows], pad_id)
    lengths_B = np.array([len(row.targets) for row in rows])
    owners_N = np.repeat(np.arange(len(rows)), lengths_B)
    return Batch(
        examples=tuple(row.example for row in rows),
        inputs={
            "input_ids": torch.from_numpy(tokens_BT),
            "attention_mask": torch.from_numpy(mask_BT),
            "decoder_input_ids": torch.from_numpy(read_BU),
        },
        positions_N=torch.from_numpy(np.concatenate([np.arange(n) + i * read_BU.shape[1] for i, n in enumerate(lengths_B)])),
        targets_N=torch.tensor([int(token) for row in rows for token in row.targets]),
        weights_N=torch.tensor([weight for row in rows for weight in row.row_weights], dtype=torch.float32),
        owners_N=torch.from_numpy(owners_N),
        real_tokens=sum(len(row.tokens) + len(row.targets) for row in rows),
        tasks=tuple(row.task for row in rows),
        extra={name: torch.tensor([value for row in rows for value in row.extra[name]]) for name in rows[0].extra},
    )


def _padded(rows: Sequence[Sequence[int]], fill: int) -> np.ndarray:
    padded = np.full((len(rows), max(map(len, rows))), fill, dtype=np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded

"""An encoder's micro-batch: texts padded on the right, one supervised row an example, or one a labelled token.

Shapes: B examples, T positions (padded), N supervised rows of the whole micro-batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from stillhouse.tensors import Batch, Encoded


def collate_encoder(rows: Sequence[Encoded], pad_id: int, *, words: bool = False, numbers: bool = False) -> Batch:
    """`words`: the rows are at the examples' `places`, and the network gives one state a token; else it gives one an example.

    `numbers`: the targets are numbers (float32), not labels.
    """
    width = max(len(row.tokens) for row in rows)
    tokens_BT = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask_BT = np.zeros((len(rows), width), dtype=np.int64)
    for i, row in enumerate(rows):
        tokens_BT[i, : len(row.tokens)] = row.tokens
        mask_BT[i, : len(row.tokens)] = 1
    inputs = {"input_ids": torch.from_numpy(tokens_BT), "attention_mask": torch.from_numpy(mask_BT)}
    if any(row.segments for row in rows):
        segments_BT = np.zeros((len(rows), width), dtype=np.int64)
        for i, row in enumerate(rows):
            segments_BT[i, : len(row.segments)] = row.segments
        inputs["token_type_ids"] = torch.from_numpy(segments_BT)
    counts_B = torch.tensor([len(row.targets) for row in rows])
    places = [i * width + place for i, row in enumerate(rows) for place in row.places]
    targets = [target for row in rows for target in row.targets]
    return Batch(
        examples=tuple(row.example for row in rows),
        inputs=inputs,
        positions_N=torch.tensor(places, dtype=torch.int64) if words else torch.arange(len(rows)),
        targets_N=torch.tensor(targets, dtype=torch.float32 if numbers else torch.int64),
        weights_N=torch.tensor([row.weight for row in rows], dtype=torch.float32).repeat_interleave(counts_B),
        owners_N=torch.arange(len(rows)).repeat_interleave(counts_B),
        real_tokens=int(mask_BT.sum()),
        tasks=tuple(row.task for row in rows),
    )

"""A table that goes on reading what its teacher knows: a row is `known @ projection + own` while it learns, one table once saved.

`known` are numbers that the teacher gives each token of its vocabulary, and they stay as they are. What the texts teach the
projection holds for all tokens, those that no text has among them; what one token has of its own is learned beside it, from 0.
Saved and loaded it is a plain `nn.Embedding`: the sum is taken once.

Shapes: V tokens, X numbers known of a token, E columns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

PROJECTION = "folded_projection_XE"
"""The weight's name: it ends in the table, so it does not count beside it."""


class Folded(nn.Module):
    """Stands where an `nn.Embedding` of V rows of E columns would."""

    known_VX: Tensor

    def __init__(self, known_VX: Tensor, projection_XE: Tensor) -> None:
        """Begins as `known @ projection`."""
        super().__init__()
        self.register_buffer("known_VX", known_VX.detach().clone(), persistent=False)
        # row by row, as a resumed optimizer's moments lie: fused AdamW pairs numbers by their place in memory
        self.folded_projection_XE = nn.Parameter(projection_XE.detach().clone(memory_format=torch.contiguous_format))
        self.own_VE = nn.Parameter(torch.zeros(known_VX.shape[0], projection_XE.shape[1]))

    @property
    def weight(self) -> Tensor:
        """The table as it stands: VxE."""
        return self.known_VX @ self.folded_projection_XE + self.own_VE

    def forward(self, tokens: Tensor) -> Tensor:
        """Each token's row; a token that comes often in a batch is projected once."""
        different_U, places = torch.unique(tokens, return_inverse=True)
        own_UE = nn.functional.embedding(different_U, self.own_VE)
        rows_UE = self.known_VX[different_U] @ self.folded_projection_XE + own_UE
        return nn.functional.embedding(places, rows_UE)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        weight_VE = self.weight
        destination[f"{prefix}weight"] = weight_VE if keep_vars else weight_VE.detach()

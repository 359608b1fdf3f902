"""A table of tokens, what a text's rows come to, and two linear layers: reading costs next to nothing.

With `window = 1` no token sees another. A wider one makes `filters` numbers of each token and its neighbours (a convolution, Kim
2014), beside the rows themselves: so "not good" can mean something else than "not" and "good".
What a token contributes to a mean is its row times its weight, both learned; a rare word can outweigh common ones (Model2Vec's
SIF weights, here trained). Shapes: B examples, T positions, E columns, F filters, H hidden neurons, S numbers a text comes to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from stillhouse.records import Record
from stillhouse.students.networks.folded import Folded
from stillhouse.students.networks.readers import Reader


class TableShape(Record):
    """Its sizes."""

    vocab_size: int = Field(ge=1)
    embedding_size: int = Field(default=128, ge=1)
    hidden_size: int = Field(default=256, ge=1)
    """Neurons between what a text comes to and the head."""
    pooling: Literal["mean", "mean_max"] = "mean"
    """What a text's rows come to: their weighted mean; or that and each column's largest number."""
    window: int = Field(default=1, ge=1)
    """Tokens that are seen together; odd. 1: each alone."""
    filters: int = Field(default=192, ge=1)
    """Numbers that are made of each window, where it is wider than 1."""
    num_hidden_layers: int = 0
    """None that could be compared with a teacher's."""
    model_type: str = "table"

    @model_validator(mode="after")
    def _the_token_stands_in_the_middle(self) -> TableShape:
        if self.window % 2 == 0:
            raise ValueError(f"window = {self.window}: as many tokens on either side make an odd number")
        return self

    @property
    def summed_size(self) -> int:
        """S."""
        columns = self.embedding_size + (self.filters if self.window > 1 else 0)
        return columns * (2 if self.pooling == "mean_max" else 1)


class Table(Reader):
    """The network and its head."""

    def __init__(self, shape: TableShape, size: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = shape
        self.rows: nn.Embedding | Folded = nn.Embedding(shape.vocab_size, shape.embedding_size)
        self.weights = nn.Embedding(shape.vocab_size, 1)
        self.seen = nn.Linear(shape.window * shape.embedding_size, shape.filters) if shape.window > 1 else None
        self.norm = nn.LayerNorm(shape.summed_size)
        self.hidden = nn.Linear(shape.summed_size, shape.hidden_size)
        self.last = nn.Linear(shape.hidden_size, size)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.weights.weight)

    @property
    def body(self) -> Table:  # itself: a second name must not count its weights twice
        return self

    def summed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """What each text comes to, BxS. Weights are a softmax, so all of a text's make 1."""
        tokens_BT, mask_BT = inputs["input_ids"], inputs["attention_mask"] != 0
        weights_BT = self.weights(tokens_BT).squeeze(-1).masked_fill(~mask_BT, -1e4).softmax(dim=-1)
        rows_BTE = self.rows(tokens_BT)
        each = [rows_BTE]
        if self.seen is not None:
            neighbours_BTX = side_by_side(rows_BTE.masked_fill(~mask_BT[..., None], 0), self.config.window)
            each.append(nn.functional.gelu(self.seen(neighbours_BTX)))
        states_BTS = torch.cat(each, dim=-1)
        mean_BS = torch.einsum("bt,bts->bs", weights_BT.to(states_BTS.dtype), states_BTS)
        if self.config.pooling == "mean":
            return mean_BS
        return torch.cat([mean_BS, states_BTS.masked_fill(~mask_BT[..., None], -1e4).amax(dim=1)], dim=-1)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return nn.functional.gelu(self.hidden(self.dropout(self.norm(self.summed(inputs)))))


def side_by_side(rows_BTE: Tensor, window: int) -> Tensor:
    """Each row between its neighbours, the text's ends beside zeros: BxTx(window E)."""
    around = window // 2
    padded_BPE = nn.functional.pad(rows_BTE, (0, 0, around, around))
    return torch.cat([padded_BPE[:, start : start + rows_BTE.shape[1]] for start in range(window)], dim=-1)

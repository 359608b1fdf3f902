"""A table of tokens, what a text's rows come to, and two linear layers: reading costs next to nothing.

With `window = 1` no token sees another. A wider one makes `filters` numbers of each token and its neighbours (a convolution, Kim
2014), beside the rows themselves: so "not good" can mean something else than "not" and "good". `blocks` look at these again.
What a token contributes to a mean is its row times its weight, both learned; a rare word can outweigh common ones (Model2Vec's
SIF weights, here trained).

Shapes: B examples, T positions, E columns, F filters, H hidden neurons, S numbers a text comes to, X numbers seen together.
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
    blocks: int = Field(default=0, ge=0)
    """Each sees three neighbours' numbers and adds to them what it makes of that; the n-th those that are 2^(n-1) apart."""
    block_size: int = Field(default=384, ge=1)
    """Neurons of a block."""
    num_hidden_layers: int = 0
    """None that could be compared with a teacher's."""
    model_type: str = "table"

    @model_validator(mode="after")
    def _windows_are_odd_and_blocks_have_one(self) -> TableShape:
        if self.window % 2 == 0:
            raise ValueError(f"window = {self.window}: as many tokens on either side make an odd number")
        if self.blocks and self.window == 1:
            raise ValueError(f"blocks = {self.blocks} look at what a window makes of tokens: window = 1 makes nothing, take 3")
        return self

    @property
    def summed_size(self) -> int:
        """S."""
        columns = self.embedding_size + (self.filters if self.window > 1 else 0)
        return columns * (2 if self.pooling == "mean_max" else 1)


class Block(nn.Module):
    """A convolution of each number by itself, then two linear layers, added to what came in (Liu et al. 2022, ConvNeXt)."""

    def __init__(self, width: int, inner: int, apart: int) -> None:
        super().__init__()
        self.apart = apart
        self.norm = nn.LayerNorm(width)
        self.sides_2F = nn.Parameter(torch.randn(2, width) * 0.3)
        self.own_F = nn.Parameter(1 + torch.randn(width) * 0.3)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)
        nn.init.normal_(self.narrow.weight, std=0.3 * inner**-0.5)

    def forward(self, states_BTF: Tensor, mask_BT1: Tensor) -> Tensor:
        """`mask_BT1`: true where a token is."""
        normed_BTF = self.norm(states_BTF).masked_fill(~mask_BT1, 0)
        before_BTF, after_BTF = shifted(normed_BTF, self.apart), shifted(normed_BTF, -self.apart)
        seen_BTF = before_BTF * self.sides_2F[0] + normed_BTF * self.own_F + after_BTF * self.sides_2F[1]
        added_BTF: Tensor = self.narrow(nn.functional.gelu(self.widen(seen_BTF)))
        return states_BTF + added_BTF


class Table(Reader):
    """The network and its head."""

    def __init__(self, shape: TableShape, size: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = shape
        self.rows: nn.Embedding | Folded = nn.Embedding(shape.vocab_size, shape.embedding_size)
        self.weights = nn.Embedding(shape.vocab_size, 1)
        self.seen = nn.Linear(shape.window * shape.embedding_size, shape.filters) if shape.window > 1 else None
        self.blocks = nn.ModuleList([Block(shape.filters, shape.block_size, 2**n) for n in range(shape.blocks)])
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
        states_BTS = self._states(tokens_BT, mask_BT[..., None])
        mean_BS = torch.einsum("bt,bts->bs", weights_BT.to(states_BTS.dtype), states_BTS)
        if self.config.pooling == "mean":
            return mean_BS
        return torch.cat([mean_BS, states_BTS.masked_fill(~mask_BT[..., None], -1e4).amax(dim=1)], dim=-1)

    def _states(self, tokens_BT: Tensor, mask_BT1: Tensor) -> Tensor:
        """Each token's row, and beside it what is made of it and its neighbours."""
        rows_BTE: Tensor = self.rows(tokens_BT)
        if self.seen is None:
            return rows_BTE
        rows_BTE = rows_BTE.masked_fill(~mask_BT1, 0)
        made_BTF = nn.functional.gelu(self.seen(side_by_side(rows_BTE, self.config.window)))
        for block in self.blocks:
            made_BTF = block(made_BTF, mask_BT1)
        return torch.cat([rows_BTE, made_BTF], dim=-1)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        states_BH: Tensor = self.dropout(nn.functional.gelu(self.hidden(self.norm(self.summed(inputs)))))
        return states_BH


def side_by_side(rows_BTE: Tensor, window: int) -> Tensor:
    """Each row between its neighbours, the text's ends beside zeros: BxTxX."""
    around = window // 2
    return torch.cat([shifted(rows_BTE, -place) for place in range(-around, around + 1)], dim=-1)


def shifted(states_BTF: Tensor, places: int) -> Tensor:
    """Position t has what stood at t - `places`; zeros come in at the end."""
    length = states_BTF.shape[1]
    if places >= 0:
        return nn.functional.pad(states_BTF, (0, 0, places, 0))[:, :length]
    return nn.functional.pad(states_BTF, (0, 0, 0, -places))[:, -length:]

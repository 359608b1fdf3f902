"""A table of tokens, their weighted mean, and two linear layers: no token sees another, so reading costs next to nothing.

What a token contributes is its row times its weight, both learned; a rare word can outweigh common ones (Model2Vec's SIF weights,
here trained). Shapes: B examples, T positions, E columns, H hidden neurons.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from stillhouse.records import Record
from stillhouse.students.networks.readers import Reader


class TableShape(Record):
    """Its sizes."""

    vocab_size: int = Field(ge=1)
    embedding_size: int = Field(default=128, ge=1)
    hidden_size: int = Field(default=256, ge=1)
    """Neurons between the mean and the head."""
    num_hidden_layers: int = 0
    """None that could be compared with a teacher's."""
    model_type: str = "table"


class Table(Reader):
    """The network and its head."""

    def __init__(self, shape: TableShape, size: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = shape
        self.rows = nn.Embedding(shape.vocab_size, shape.embedding_size)
        self.weights = nn.Embedding(shape.vocab_size, 1)
        self.norm = nn.LayerNorm(shape.embedding_size)
        self.hidden = nn.Linear(shape.embedding_size, shape.hidden_size)
        self.last = nn.Linear(shape.hidden_size, size)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.weights.weight)

    @property
    def body(self) -> Table:  # itself: a second name must not count its weights twice
        return self

    def mean(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The weighted mean of each text's rows, BxE; weights are a softmax, so all of a text's make 1."""
        tokens_BT, mask_BT = inputs["input_ids"], inputs["attention_mask"]
        weights_BT = self.weights(tokens_BT).squeeze(-1).masked_fill(mask_BT == 0, -1e4).softmax(dim=-1)
        return torch.einsum("bt,bte->be", weights_BT, self.rows(tokens_BT))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return torch.nn.functional.gelu(self.hidden(self.dropout(self.norm(self.mean(inputs)))))

"""A small encoder made for speed: BERT's layers after a factorised embedding table, queries, keys and values in one product.

The table has E columns and a projection widens them to H, so that a large vocabulary costs little (Lan et al. 2020, ALBERT).
The mean over real tokens before the head. Bare names, so transformers cannot load it. While it learns, attention is two plain
products: the backward pass of the fused kernel is several times slower on a CPU.

Shapes: B examples, T positions, E width of the table, H width, A heads, D head width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from stillhouse.records import Record
from stillhouse.students.networks.folded import Folded
from stillhouse.students.networks.readers import Reader, mean_of_tokens


class CompactShape(Record):
    """Its sizes, under transformers' names for them."""

    vocab_size: int = Field(ge=1)
    embedding_size: int = Field(default=64, ge=1)
    """E. Equal to the width: no projection."""
    hidden_size: int = Field(default=192, ge=1)
    num_hidden_layers: int = Field(default=2, ge=1)
    num_attention_heads: int = Field(default=6, ge=1)
    intermediate_size: int = Field(default=768, ge=1)
    max_position_embeddings: int = Field(default=128, ge=1)
    norm: Literal["post", "pre"] = "post"
    """post: sums are normed, as in BERT (Devlin et al. 2019). pre: what each part reads, and the last sum (Xiong et al. 2020)."""
    model_type: str = "compact"

    @model_validator(mode="after")
    def _heads_are_whole(self) -> CompactShape:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {self.num_attention_heads}")
        return self


class Attention(nn.Module):
    """Self-attention over all real tokens."""

    def __init__(self, shape: CompactShape) -> None:
        super().__init__()
        width = shape.hidden_size
        self.heads = shape.num_attention_heads
        self.scaling = float((width // self.heads) ** -0.5)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, states_BTH: Tensor, mask_B11T: Tensor | None) -> Tensor:
        """`mask_B11T`: added to the scores; None where there is no padding."""
        made_BT3AD = self.queries_keys_values(states_BTH).unflatten(-1, (3, self.heads, -1))
        queries_BATD, keys_BATD, values_BATD = made_BT3AD.permute(2, 0, 3, 1, 4)
        if torch.is_grad_enabled():
            scores_BATT = (queries_BATD * self.scaling) @ keys_BATD.transpose(2, 3)
            scores_BATT = scores_BATT if mask_B11T is None else scores_BATT + mask_B11T
            read_BATD = scores_BATT.softmax(dim=-1) @ values_BATD
        else:
            mask_B11T = None if mask_B11T is None else mask_B11T.to(queries_BATD.dtype)
            read_BATD = torch.nn.functional.scaled_dot_product_attention(queries_BATD, keys_BATD, values_BATD, mask_B11T)
        mixed_BTH: Tensor = self.output(read_BATD.transpose(1, 2).flatten(2))
        return mixed_BTH


class Layer(nn.Module):
    """Attention, then two linear layers, each added to what came in; normed after that, or before."""

    def __init__(self, shape: CompactShape, dropout: float) -> None:
        super().__init__()
        width = shape.hidden_size
        self.before = shape.norm == "pre"
        self.attention = Attention(shape)
        self.attention_norm = nn.LayerNorm(width, eps=1e-12)
        self.widen = nn.Linear(width, shape.intermediate_size)
        self.narrow = nn.Linear(shape.intermediate_size, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states_BTH: Tensor, mask_B11T: Tensor | None) -> Tensor:
        if self.before:
            states_BTH = states_BTH + self.dropout(self.attention(self.attention_norm(states_BTH), mask_B11T))
            return states_BTH + self._thought(self.norm(states_BTH))
        states_BTH = self.attention_norm(states_BTH + self.dropout(self.attention(states_BTH, mask_B11T)))
        normed_BTH: Tensor = self.norm(states_BTH + self._thought(states_BTH))
        return normed_BTH

    def _thought(self, states_BTH: Tensor) -> Tensor:
        thought_BTH: Tensor = self.dropout(self.narrow(torch.nn.functional.gelu(self.widen(states_BTH))))
        return thought_BTH


class Compact(Reader):
    """The network and its head."""

    def __init__(self, shape: CompactShape, size: int, *, each_token: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = shape
        self.each_token = each_token
        width = shape.hidden_size
        self.tokens: nn.Embedding | Folded = nn.Embedding(shape.vocab_size, shape.embedding_size)
        self.positions = nn.Embedding(shape.max_position_embeddings, width)
        self.widen = nn.Linear(shape.embedding_size, width, bias=False) if shape.embedding_size != width else nn.Identity()
        self.norm = nn.LayerNorm(width, eps=1e-12) if shape.norm == "post" else nn.Identity()
        self.final = nn.LayerNorm(width, eps=1e-12) if shape.norm == "pre" else nn.Identity()
        self.layers = nn.ModuleList([Layer(shape, dropout) for _ in range(shape.num_hidden_layers)])
        self.last = nn.Linear(width, size)
        self.dropout = nn.Dropout(dropout)
        self._begin()

    @property
    def body(self) -> Compact:  # itself: a second name must not count its weights twice
        return self

    @property
    def base_model(self) -> Compact:
        """Where `states.with_states` looks for the layers."""
        return self

    def _begin(self) -> None:
        """Random weights that keep the states' size from layer to layer."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.6 * module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        factorised = self.config.embedding_size != self.config.hidden_size
        nn.init.normal_(self.tokens.weight, std=1.0 if factorised else 0.02)
        nn.init.normal_(self.positions.weight, std=0.02)
        if self.config.norm == "pre":  # sums grow with every layer: begin with small additions
            for name, parameter in self.layers.named_parameters():
                if name.endswith(("attention.output.weight", "narrow.weight")):
                    parameter.data.mul_(0.3)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        tokens_BT, mask_BT = inputs["input_ids"], inputs["attention_mask"]
        states_BTH = self.norm(self.widen(self.tokens(tokens_BT)) + self.positions.weight[: tokens_BT.shape[1]])
        states_BTH = self.dropout(states_BTH)
        mask_B11T = None if bool(mask_BT.all()) else (mask_BT[:, None, None, :] == 0).to(states_BTH.dtype) * -1e4
        for layer in self.layers:
            states_BTH = layer(states_BTH, mask_B11T)
        states_BTH = self.final(states_BTH)
        return states_BTH if self.each_token else mean_of_tokens(states_BTH, mask_BT)

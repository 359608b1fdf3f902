"""A BERT as a compact network of the same sizes: the same numbers under other names, so that both are cut by the same rules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stillhouse.errors import RecipeError
from stillhouse.students.networks.compact import Compact, CompactShape
from stillhouse.students.networks.readers import Reader

_PAIRS = {
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "widen": "intermediate.dense",
    "narrow": "output.dense",
    "norm": "output.LayerNorm",
}
"""A compact layer's parts and BERT's."""


def as_compact(reader: Reader, *, each_token: bool) -> Compact:
    """The teacher as a compact network: itself where it is one. Raises RecipeError for what is neither that nor BERT.

    A head that reads the first token is left behind, because a compact network reads the mean.
    """
    if isinstance(reader, Compact):
        return reader
    body: Any = reader.body.base_model
    if body.config.model_type != "bert" or body.config.hidden_act != "gelu":
        raise RecipeError(
            f"A compact encoder starts from a BERT with GELU or from a compact one, not from a '{body.config.model_type}'. "
            'Set [student.config] architecture = "transformers", or leave [student.init] out.'
        )
    config = body.config
    sizes = (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
    )
    shape = CompactShape(embedding_size=config.hidden_size, **{name: int(getattr(config, name)) for name in sizes})
    last = reader.last
    network = Compact(shape, last.out_features, each_token=each_token)
    weights = {name: tensor.detach() for name, tensor in body.state_dict().items()}
    taken = {
        **_embeddings(weights),
        **{k: v for layer in range(shape.num_hidden_layers) for k, v in _layer(weights, layer).items()},
    }
    if last.in_features == shape.hidden_size:
        taken |= {"last.weight": last.weight.detach(), "last.bias": last.bias.detach()}
    network.load_state_dict(taken)
    network.eval()
    return network


def _embeddings(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The first text's type is part of every position."""
    names = {"norm.weight": "LayerNorm.weight", "norm.bias": "LayerNorm.bias", "tokens.weight": "word_embeddings.weight"}
    found = {ours: weights[f"embeddings.{theirs}"] for ours, theirs in names.items()}
    types = weights.get("embeddings.token_type_embeddings.weight")
    positions = weights["embeddings.position_embeddings.weight"]
    return {**found, "positions.weight": positions if types is None else positions + types[0]}


def _layer(weights: dict[str, Tensor], layer: int) -> dict[str, Tensor]:
    found = {}
    for part in ("weight", "bias"):
        three = [weights[f"encoder.layer.{layer}.attention.self.{name}.{part}"] for name in ("query", "key", "value")]
        found[f"layers.{layer}.attention.queries_keys_values.{part}"] = torch.cat(three)
        for ours, theirs in _PAIRS.items():
            found[f"layers.{layer}.{ours}.{part}"] = weights[f"encoder.layer.{layer}.{theirs}.{part}"]
    return found

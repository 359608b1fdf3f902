"""Inner states of a transformers network while it runs: hidden states, queries, keys, values, attention scores.

    result, states = with_states(network, wanted, run, mask_BT)

`run` calls the network however the kind of student calls it; hooks listen meanwhile and are gone afterwards, whatever happens.
They keep references and compute nothing, so attention stays as fast as it is (SDPA) and gradient checkpointing works, as long as
it is the non-reentrant kind: the other one cuts the graph. Scores are computed again from queries and keys, outside the network.

Comparing states is `features`' affair; which sentence vector a kind serves is the kind's, which then replaces `pooled_BH`.

Shapes: B examples, T positions, H width, A attention heads, D head width.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from stillhouse.errors import UsageError
from stillhouse.tensors import Batch, States, Wanted

Result = TypeVar("Result")

PROJECTIONS = ("queries", "keys", "values")


@dataclass(frozen=True)
class Anatomy:
    """Where a family of networks keeps its parts: paths of submodules."""

    layers: str
    """From the body to the list of layers."""
    attention: str
    """From a layer to its self-attention."""
    projections: tuple[str, ...]
    """From there to what makes queries, keys and values; or to the one layer that makes all three, side by side."""
    norm: str = ""
    """Applied after the last layer; its output counts as the last layer's, as in transformers' own `hidden_states`."""
    rotary: str = ""
    """From the body to what turns queries and keys by their position (RoPE)."""
    scores: bool = True
    """False where scores are more than a product of queries and keys."""
    encoder: bool = False
    """The body is the network's encoder."""


_BERT = Anatomy("encoder.layer", "attention.self", ("query", "key", "value"))
_LLAMA = Anatomy("layers", "self_attn", ("q_proj", "k_proj", "v_proj"), norm="norm", rotary="rotary_emb")
_NORMED = Anatomy("layers", "self_attn", ("q_proj", "k_proj", "v_proj"), norm="norm", scores=False)
_T5 = Anatomy("block", "layer.0.SelfAttention", ("q", "k", "v"), norm="final_layer_norm", encoder=True)

FAMILIES: dict[str, Anatomy] = {
    "bart": Anatomy("layers", "self_attn", ("q_proj", "k_proj", "v_proj"), encoder=True),
    **dict.fromkeys(("bert", "camembert", "electra", "roberta", "xlm-roberta"), _BERT),
    "compact": Anatomy("layers", "attention", ("queries_keys_values",), norm="final"),  # our own
    "distilbert": Anatomy("transformer.layer", "attention", ("q_lin", "k_lin", "v_lin")),
    "gpt2": Anatomy("h", "attn", ("c_attn",), norm="ln_f"),
    **dict.fromkeys(("llama", "mistral", "qwen2"), _LLAMA),
    "mpnet": Anatomy("encoder.layer", "attention.attn", ("q", "k", "v"), scores=False),  # adds a bias by position
    "qwen3": _NORMED,  # norms queries and keys before it turns them
    **dict.fromkeys(("mt5", "t5", "umt5"), _T5),
}
"""By `model_type`. Of an encoder-decoder it is the encoder."""


@dataclass
class _Taken:
    """What the hooks saw, by part and layer (from 0)."""

    tensors: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    rotation: tuple[Tensor, Tensor] | None = None

    def of(self, part: str) -> tuple[Tensor, ...]:
        return tuple(value for (name, _), value in sorted(self.tensors.items(), key=lambda item: item[0][1]) if name == part)


def with_states(network: Any, wanted: Wanted, run: Callable[[], Result], mask_BT: Tensor) -> tuple[Result, States]:
    """What `run()` returns, and the states that `network` went through meanwhile. `mask_BT`: True at real tokens.

    `hidden` is transformers' own: embeddings, each layer's output, the last one after the final norm. Keys and values of
    grouped-query attention have their own number of heads. `scores` are scaled, with positions in them, and -inf where the
    network does not look. `pooled_BH` is the mean of the last states over real tokens.

    Raises UsageError where this architecture's states, or its attention scores, are not known.
    """
    body, anatomy = _body_of(network, wanted)
    taken = _Taken()
    with ExitStack() as hooks:
        for handle in _listen(body, anatomy, wanted, taken):
            hooks.callback(handle.remove)
        result = run()
    return result, _states(body, anatomy, wanted, taken, mask_BT)


def shape_of(network: Any) -> tuple[int, int]:
    """(layers, width) of the states that can be wanted; one without layers has a pooled state alone.

    Raises UsageError for an architecture that is not known.
    """
    config: Any = getattr(network, "config", None)
    if getattr(config, "num_hidden_layers", None) == 0:
        return 0, int(config.hidden_size)
    body, anatomy = _body_of(network, Wanted())
    return len(body.get_submodule(anatomy.layers)), int(body.config.hidden_size)


def real_tokens(batch: Batch) -> Tensor:
    """mask_BT of a micro-batch: its `attention_mask`; or, where a causal mask makes one needless, all up to the last label.

    Raises UsageError for packed rows.
    """
    if "attention_mask" in batch.inputs:
        return batch.inputs["attention_mask"].bool()
    tokens_BT = batch.inputs["input_ids"]
    rows, width = tokens_BT.shape
    if rows != len(batch.examples):
        raise UsageError(
            "Inner states are compared example by example, and here several share a row. Set [training] pack = false."
        )
    last_B = torch.zeros(rows, dtype=torch.int64, device=tokens_BT.device)
    last_B.scatter_reduce_(0, batch.positions_N // width, batch.positions_N % width + 1, "amax")  # it predicts the next one
    return torch.arange(width, device=tokens_BT.device) <= last_B[:, None]


def _body_of(network: Any, wanted: Wanted) -> tuple[Any, Anatomy]:
    network = network if hasattr(network, "config") else network.body  # a reader's: its own layer comes after all states
    family = network.config.model_type
    anatomy = FAMILIES.get(family)
    if anatomy is None:
        raise UsageError(
            f"Inner states of '{family}' networks are not known, only of: {', '.join(sorted(FAMILIES))}. "
            "Distil its distribution alone: leave [method] features out."
        )
    if wanted.attention and (not anatomy.scores or getattr(network.config, "sliding_window", None)):
        raise UsageError(
            f"Attention scores of this '{family}' network cannot be computed from its queries and keys alone. "
            'Compare relations instead: loss = "relations" in [[method.features]] needs no scores.'
        )
    return network.get_encoder() if anatomy.encoder else network.base_model, anatomy


# -- listening -------------------------------------------------------------------------------------------------------------


def _listen(body: Any, anatomy: Anatomy, wanted: Wanted, taken: _Taken) -> list[Any]:
    """Handles of the hooks that keep what is wanted."""
    layers = list(body.get_submodule(anatomy.layers))
    handles: list[Any] = []
    if wanted.hidden or wanted.pooled:
        handles.append(layers[0].register_forward_pre_hook(_keep_input(taken), with_kwargs=True))
        handles += [layer.register_forward_hook(_keep(taken, "hidden", i)) for i, layer in enumerate(layers)]
        if anatomy.norm:  # takes the place of the last layer's
            norm = body.get_submodule(anatomy.norm)
            handles.append(norm.register_forward_hook(_keep(taken, "hidden", len(layers) - 1)))
    if wanted.attention or wanted.relations:
        for i, layer in enumerate(layers):
            attention = layer.get_submodule(anatomy.attention)
            for part, path in zip(PROJECTIONS, anatomy.projections, strict=False):  # a fused one is kept as queries
                handles.append(attention.get_submodule(path).register_forward_hook(_keep(taken, part, i)))
    if wanted.attention and anatomy.rotary:
        handles.append(body.get_submodule(anatomy.rotary).register_forward_hook(_keep_rotation(taken)))
    return handles


def _keep(taken: _Taken, part: str, layer: int) -> Callable[[Any, Any, Any], None]:
    def hook(module: Any, inputs: Any, output: Any) -> None:
        taken.tensors[part, layer] = output[0] if isinstance(output, tuple) else output

    return hook


def _keep_input(taken: _Taken) -> Callable[[Any, Any, Any], None]:
    def hook(module: Any, inputs: Any, named: Any) -> None:
        taken.tensors["embeddings", 0] = inputs[0] if inputs else named["hidden_states"]

    return hook


def _keep_rotation(taken: _Taken) -> Callable[[Any, Any, Any], None]:
    def hook(module: Any, inputs: Any, output: Any) -> None:
        taken.rotation = output

    return hook


# -- making states of it ---------------------------------------------------------------------------------------------------


def _states(body: Any, anatomy: Anatomy, wanted: Wanted, taken: _Taken, mask_BT: Tensor) -> States:
    parts = _projections(body, anatomy, taken) if wanted.attention or wanted.relations else {}
    hidden = taken.of("embeddings") + taken.of("hidden")
    return States(
        mask_BT,
        hidden=hidden if wanted.hidden else (),
        pooled_BH=_mean(hidden[-1], mask_BT) if wanted.pooled else None,
        scores=_scores(body, anatomy, parts, taken, mask_BT) if wanted.attention else (),
        **{part: values for part, values in parts.items() if part in wanted.relations},
    )


def _projections(body: Any, anatomy: Anatomy, taken: _Taken) -> dict[str, tuple[Tensor, ...]]:
    """Each part's layers, BxAxTxD."""
    if len(anatomy.projections) == 1:
        split = [fused_BTX.chunk(3, dim=-1) for fused_BTX in taken.of("queries")]
        flat = {part: tuple(three[i] for three in split) for i, part in enumerate(PROJECTIONS)}
    else:
        flat = {part: taken.of(part) for part in PROJECTIONS}
    width = flat["queries"][0].shape[-1] // int(body.config.num_attention_heads)
    return {part: tuple(_by_head(value_BTX, width) for value_BTX in values) for part, values in flat.items()}


def _by_head(value_BTX: Tensor, width: int) -> Tensor:
    return value_BTX.view(*value_BTX.shape[:2], -1, width).transpose(1, 2)


def _scores(
    body: Any, anatomy: Anatomy, parts: dict[str, tuple[Tensor, ...]], taken: _Taken, mask_BT: Tensor
) -> tuple[Tensor, ...]:
    """Each layer's, BxAxTxT: what its softmax is taken of."""
    scores, bias_1ATT = [], None
    seen_B1TT = mask_BT[:, None, None, :].expand(-1, 1, mask_BT.shape[1], -1)
    for layer, queries_BATD, keys_BATD in zip(body.get_submodule(anatomy.layers), parts["queries"], parts["keys"], strict=True):
        attention = layer.get_submodule(anatomy.attention)
        if taken.rotation is not None:
            queries_BATD, keys_BATD = (_turned(value, *taken.rotation) for value in (queries_BATD, keys_BATD))
        keys_BATD = keys_BATD.repeat_interleave(queries_BATD.shape[1] // keys_BATD.shape[1], dim=1)
        scores_BATT = queries_BATD @ keys_BATD.transpose(2, 3) * attention.scaling
        if getattr(attention, "has_relative_attention_bias", False):  # T5: made by the first layer, added in all
            bias_1ATT = attention.compute_bias(*scores_BATT.shape[2:], device=scores_BATT.device)
        scores_BATT = scores_BATT if bias_1ATT is None else scores_BATT + bias_1ATT
        causal = getattr(attention, "is_causal", False)
        scores.append(scores_BATT.masked_fill(~(seen_B1TT.tril() if causal else seen_B1TT), -torch.inf))
    return tuple(scores)


def _turned(value_BATD: Tensor, cos_BTD: Tensor, sin_BTD: Tensor) -> Tensor:
    """Rotated by position (Su et al. 2021), halves paired as Llama does."""
    first, second = value_BATD.chunk(2, dim=-1)
    return value_BATD * cos_BTD[:, None] + torch.cat((-second, first), dim=-1) * sin_BTD[:, None]


def _mean(hidden_BTH: Tensor, mask_BT: Tensor) -> Tensor:
    kept_BTH = torch.where(mask_BT[..., None], hidden_BTH, 0)
    return kept_BTH.sum(dim=1) / mask_BT.sum(dim=1, keepdim=True).clamp(min=1)

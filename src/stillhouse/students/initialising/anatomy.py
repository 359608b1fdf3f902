"""What each axis of each weight of a network stands for, by family: what has to be known to cut a network narrower.

width    the residual stream, one set of columns through the whole network
heads    the queries' heads of a layer, whole heads; `kv` those of keys and values; `heads3` queries, keys, values side by side
ffn      the neurons between a layer's two linear maps
vocabulary, positions, labels, all (never cut)
"""

from __future__ import annotations

import re
from typing import NamedTuple

from stillhouse.errors import RecipeError

Roles = tuple[str, ...]


class Family(NamedTuple):
    """Of networks whose weights have the same names."""

    layers: str
    """Path of the list of layers, from the body."""
    roles: tuple[tuple[str, Roles], ...]
    """End of a weight's name, as a pattern -> its axes. The first that fits counts."""


_BERT = Family(
    "encoder.layer",
    (
        (r"word_embeddings\.weight", ("vocabulary", "width")),
        (r"position_embeddings\.weight", ("positions", "width")),
        (r"token_type_embeddings\.weight", ("all", "width")),
        (r"self\.(query|key|value)\.weight", ("heads", "width")),
        (r"self\.(query|key|value)\.bias", ("heads",)),
        (r"attention\.output\.dense\.weight", ("width", "heads")),
        (r"intermediate\.dense\.weight", ("ffn", "width")),
        (r"intermediate\.dense\.bias", ("ffn",)),
        (r"\d+\.output\.dense\.weight", ("width", "ffn")),
        (r"(pooler|classifier)\.dense\.weight", ("width", "width")),
        (r"classifier(\.out_proj)?\.weight", ("labels", "width")),
        (r"classifier(\.out_proj)?\.bias", ("labels",)),
        (r"(LayerNorm\.(weight|bias)|dense\.bias)", ("width",)),
    ),
)
_DISTILBERT = Family(
    "transformer.layer",
    (
        (r"word_embeddings\.weight", ("vocabulary", "width")),
        (r"position_embeddings\.weight", ("positions", "width")),
        (r"[qkv]_lin\.weight", ("heads", "width")),
        (r"[qkv]_lin\.bias", ("heads",)),
        (r"out_lin\.weight", ("width", "heads")),
        (r"lin1\.weight", ("ffn", "width")),
        (r"lin1\.bias", ("ffn",)),
        (r"lin2\.weight", ("width", "ffn")),
        (r"pre_classifier\.weight", ("width", "width")),
        (r"\bclassifier\.weight", ("labels", "width")),
        (r"\bclassifier\.bias", ("labels",)),
        (r"((layer_norm|LayerNorm)\.(weight|bias)|(out_lin|lin2|pre_classifier)\.bias)", ("width",)),
    ),
)
_LLAMA = Family(
    "layers",
    (
        (r"(embed_tokens|lm_head)\.weight", ("vocabulary", "width")),
        (r"q_proj\.weight", ("heads", "width")),
        (r"q_proj\.bias", ("heads",)),
        (r"[kv]_proj\.weight", ("kv", "width")),
        (r"[kv]_proj\.bias", ("kv",)),
        (r"o_proj\.weight", ("width", "heads")),
        (r"[qk]_norm\.weight", ("all",)),
        (r"(gate|up)_proj\.weight", ("ffn", "width")),
        (r"down_proj\.weight", ("width", "ffn")),
        (r"norm\.weight", ("width",)),
    ),
)
_GPT2 = Family(
    "h",
    (
        (r"(wte|lm_head)\.weight", ("vocabulary", "width")),
        (r"wpe\.weight", ("positions", "width")),
        (r"c_attn\.weight", ("width", "heads3")),
        (r"c_attn\.bias", ("heads3",)),
        (r"attn\.c_proj\.weight", ("heads", "width")),
        (r"c_fc\.weight", ("width", "ffn")),
        (r"c_fc\.bias", ("ffn",)),
        (r"mlp\.c_proj\.weight", ("ffn", "width")),
        (r"(ln_(1|2|f)\.(weight|bias)|c_proj\.bias)", ("width",)),
    ),
)
_COMPACT = Family(
    "layers",
    (
        (r"tokens\.weight", ("vocabulary", "all")),
        (r"positions\.weight", ("positions", "width")),
        (r"queries_keys_values\.weight", ("heads3", "width")),
        (r"queries_keys_values\.bias", ("heads3",)),
        (r"attention\.output\.weight", ("width", "heads")),
        (r"\d+\.widen\.weight", ("ffn", "width")),
        (r"\d+\.widen\.bias", ("ffn",)),
        (r"narrow\.weight", ("width", "ffn")),
        (r"\bwiden\.weight", ("width", "all")),
        (r"last\.weight", ("labels", "width")),
        (r"last\.bias", ("labels",)),
        (r"((norm|final)\.(weight|bias)|(narrow|output)\.bias)", ("width",)),
    ),
)

FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("bert", "camembert", "roberta", "xlm-roberta"), _BERT),
    "compact": _COMPACT,
    "distilbert": _DISTILBERT,
    "gpt2": _GPT2,
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), _LLAMA),
}
"""By `model_type`."""


def family_of(model_type: str) -> Family:
    """Raises RecipeError for an architecture that cannot be cut."""
    if model_type not in FAMILIES:
        raise RecipeError(f"A student cannot start from a '{model_type}' network, only from: {', '.join(sorted(FAMILIES))}.")
    return FAMILIES[model_type]


def roles_of(family: Family, name: str) -> Roles:
    """The axes of the weight called `name`. Raises RecipeError for one that is not known."""
    for pattern, roles in family.roles:
        if re.search(pattern + "$", name):
            return roles
    raise RecipeError(f"The weight '{name}' of this network is not known, so it cannot be cut. Leave [student.init] out.")


def layer_of(family: Family, name: str) -> int | None:
    """Which layer a weight is in; None for those outside."""
    found = re.search(rf"(?:^|\.){re.escape(family.layers)}\.(\d+)\.", name)
    return None if found is None else int(found[1])

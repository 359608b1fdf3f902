"""A configuration of transformers with other sizes, everything else as it was."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from stillhouse.errors import RecipeError

SIZES = frozenset(
    {
        *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size"),
        "max_position_embeddings",
    }
)
"""What a student may have less of than its teacher, under transformers' common names."""


def resized(config: Any, sizes: Mapping[str, Any]) -> Any:
    """A copy with these sizes. Fewer columns: fewer heads of the same width, unless their number is given. Raises RecipeError."""
    unknown = sorted(set(sizes) - SIZES)
    if unknown:
        raise RecipeError(
            f"[student.config] {', '.join(unknown)}: not a size. With [student.init] there are: {', '.join(sorted(SIZES))}."
        )
    new = copy.deepcopy(config)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    given = dict(sizes)
    if "hidden_size" in given and "num_attention_heads" not in given:
        given["num_attention_heads"] = max(1, int(given["hidden_size"]) // head)
    groups = getattr(config, "num_key_value_heads", None)
    if groups and "num_key_value_heads" not in given and "num_attention_heads" in given:
        given["num_key_value_heads"] = max(1, int(given["num_attention_heads"]) * groups // config.num_attention_heads)
    for name, value in given.items():
        setattr(new, config.attribute_map.get(name, name), value)
    if getattr(new, "layer_types", None):
        new.layer_types = list(new.layer_types[: new.num_hidden_layers])
    if getattr(new, "n_inner", None) is None and "intermediate_size" in given and hasattr(new, "n_inner"):
        new.n_inner = given["intermediate_size"]
    return new

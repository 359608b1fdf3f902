"""How deep and how wide a student's network is, whatever the architecture calls it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Sizes(NamedTuple):
    """Of the layers that are compared and copied: an encoder-decoder's encoder, anything else's only stack."""

    layers: int
    """Without the embeddings."""
    width: int


def sizes_of(student: Any) -> Sizes:
    """Read from the network's configuration. A static student has no layers."""
    config = getattr(student.network, "body", student.network).config
    if hasattr(config, "get_text_config"):
        config = config.get_text_config()
    return Sizes(int(getattr(config, "num_hidden_layers", 0)), int(config.hidden_size))

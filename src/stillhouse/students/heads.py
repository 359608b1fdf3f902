"""The head of a transformers network: its last linear layer, and what the architecture does to the scores after it."""

from __future__ import annotations

from typing import Any

from stillhouse.errors import UsageError
from stillhouse.tensors import Head


def head_of(network: Any) -> Head:
    """The head that turns a decoder's states into scores. Raises UsageError for an architecture without a linear one."""
    layer = network.get_output_embeddings()
    if layer is None or getattr(layer, "weight", None) is None:
        raise UsageError(f"A '{network.config.model_type}' network has no linear head over a vocabulary and cannot be distilled.")
    config = network.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    return Head(layer.weight, getattr(layer, "bias", None), scale=_scale(config), soft_cap=None if cap is None else float(cap))


def _scale(config: Any) -> float:
    """Cohere multiplies by logit_scale, Granite divides by logits_scaling."""
    multiplied = getattr(config, "logit_scale", None)
    divided = getattr(config, "logits_scaling", None)
    return float(multiplied if multiplied is not None else 1.0) / float(divided if divided is not None else 1.0)

"""How numbers are held while a student learns: products in half precision where the processor is made for it, weights never.

Autocast, not half-precision weights: the optimizer's small steps would be rounded away. Losses widen what they sum themselves
(`losses/base.py`). What is kept of the activations is decided here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch

from stillhouse.errors import RecipeError
from stillhouse.tensors import has_bfloat16

Precision = Literal["auto", "float32", "bfloat16"]


def autocast_of(precision: Precision, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    """What every forward pass runs in. Raises RecipeError where bfloat16 is asked for and would only be imitated."""
    made_for_it = has_bfloat16(device)
    if precision == "bfloat16" and not made_for_it:
        raise RecipeError(
            f"This processor ({device.type}) has no instructions for bfloat16 (AMX, AVX512-BF16, a GPU from Ampere on): it would "
            'imitate them, far slower than float32. Set [training] precision = "float32", or "auto" for machines of both sorts.'
        )
    if precision == "float32" or not made_for_it:
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16)


@contextmanager
def attention_written_out(network: Any, precision: Precision, device: torch.device) -> Iterator[None]:
    """In half precision on a CPU, attention as plain products while a transformers network learns: the fused kernel's backward
    pass takes 1.5 to 2 times as long there (docs/log.md). The network is given back as it came.
    """
    config = getattr(network, "config", None)
    fused = getattr(config, "_attn_implementation", None) == "sdpa"
    if not fused or device.type != "cpu" or precision == "float32" or not has_bfloat16(device):
        yield
        return
    network.set_attn_implementation("eager")
    try:
        yield
    finally:
        network.set_attn_implementation("sdpa")


def keep_fewer_activations(network: Any) -> None:
    """Each layer's inner activations are computed again in the backward pass (Chen et al. 2016), with the same random numbers.

    Raises RecipeError for a network that cannot.
    """
    network = getattr(network, "body", network)  # what a reader is around
    if not getattr(network, "supports_gradient_checkpointing", False):
        raise RecipeError(
            "This student's network cannot compute activations again: set [training] gradient_checkpointing = false."
        )
    if hasattr(network, "activation_checkpointing_enable"):
        network.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    else:  # an older transformers
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

"""Low-rank adapters (LoRA, Hu et al. 2022; QLoRA, Dettmers et al. 2023) inside a transformers network, through peft.

    y = W x + (alpha / rank) * B A x        A: rank x in, B: out x rank, zero at first; W is frozen, in 4 or 8 bits if asked

The network keeps its class, so whoever runs it, reads its head or listens to its layers need not know. What is saved is plain:
the products are added to the weights, and the adapter lies beside them in peft's own format. Which parameters an optimizer or a
checkpoint takes is told by `requires_grad` alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from stillhouse.errors import MissingExtraError, RecipeError
from stillhouse.recipe import Adapter
from stillhouse.students.networks.folded import PROJECTION

ADAPTER_FOLDER = "adapter"
"""Beside the merged weights, for those who keep one base and many adapters."""

_NAME = "default"

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # peft imports it, and it tells of kernels it does without, every step


def adapt(network: Any, adapter: Adapter, *, seed: int, whole: Sequence[str] = ()) -> None:
    """Freeze `network` and put adapters into it, in place; `seed` decides their first numbers.

    `whole`: names of modules that are trained as they are, such as a classifier's new head. Raises RecipeError for targets the
    network does not have, MissingExtraError where peft, or bitsandbytes for `bits`, is not installed or does not run here.
    """
    peft = _library("peft", "An adapter", "train")
    targets = _targets(network, adapter, whole)
    if adapter.bits is not None:
        _quantise(network, targets, adapter.bits)
    layers = [network.get_submodule(name) for name in targets]
    config = peft.LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=targets,
        fan_in_fan_out=all(type(layer).__name__ == "Conv1D" for layer in layers),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(config, network, adapter_name=_NAME)
    for name, parameter in network.named_parameters():
        parameter.requires_grad = ".lora_" in name or any(_within(name, module) for module in whole)


def is_adapted(network: Any) -> bool:
    """Whether `adapt` was here."""
    return _NAME in (getattr(network, "peft_config", None) or {})


def parameter_count(network: Any) -> int:
    """Numbers of the plain network, adapters and a folded table's projection aside, because they end up in the weights.

    Quantised weights count as what they stand for, tied ones once.
    """
    quantised = {name: layer.in_features * layer.out_features for name, layer in _quantised_layers(network)}
    return sum(
        quantised.get(name.removesuffix(".weight"), parameter.numel())
        for name, parameter in network.named_parameters()
        if ".lora_" not in name and not name.endswith(PROJECTION)
    )


def save_network(network: Any, folder: Path) -> None:
    """`save_pretrained`: with the adapters merged into plain float32 weights, and the adapter in `adapter/`. Changes nothing."""
    if not is_adapted(network):
        network.save_pretrained(folder)
        return
    network.save_pretrained(folder, state_dict=merged_weights(network))
    peft = _library("peft", "An adapter", "train")
    weights = peft.get_peft_model_state_dict(network, adapter_name=_NAME)
    (folder / ADAPTER_FOLDER).mkdir()
    save_file(
        {f"base_model.model.{name}": tensor.detach().contiguous().cpu() for name, tensor in weights.items()},
        folder / ADAPTER_FOLDER / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    network.peft_config[_NAME].save_pretrained(folder / ADAPTER_FOLDER)


def merged_weights(network: Any) -> dict[str, Tensor]:
    """The plain network's state: W + (alpha / rank) * B A wherever there is an adapter, W being read out of its 4 or 8 bits."""
    adapted = dict(_adapted_layers(network))
    merged: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, layer in adapted.items():
            weight = _full(layer.get_base_layer())
            merged[f"{name}.weight"] = weight + layer.get_delta_weight(_NAME).to(weight.dtype)
        for name, tensor in network.state_dict().items():
            inside = next((layer for layer in _parents(name) if layer in adapted), None)
            if inside is None:
                merged[name] = tensor
            elif name == f"{inside}.base_layer.bias":
                merged[f"{inside}.bias"] = tensor
    return merged


def _adapted_layers(network: Any) -> Iterator[tuple[str, Any]]:
    for name, module in network.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "get_base_layer"):
            yield name, module


def _quantised_layers(network: Any) -> Iterator[tuple[str, Any]]:
    for name, module in network.named_modules():
        if type(module).__name__ in ("Linear4bit", "Linear8bitLt") and not hasattr(module, "get_base_layer"):
            yield name, module


def _parents(name: str) -> Iterator[str]:
    """`a.b.c` -> `a.b`, `a`."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


# -- which layers -------------------------------------------------------------------------------------------------------------


def _targets(network: Any, adapter: Adapter, whole: Sequence[str]) -> list[str]:
    """Full names of the layers to adapt. A recipe names them by their last parts: `q_proj`, `SelfAttention.q`."""
    layers = [name for name in _linear_layers(network) if not any(_within(name, module) for module in whole)]
    if adapter.targets == "linear":
        return layers
    ends = {target: [name for name in layers if name == target or name.endswith(f".{target}")] for target in adapter.targets}
    missing = [target for target, found in ends.items() if not found]
    if missing:
        there = sorted({name.rpartition(".")[2] for name in layers})
        raise RecipeError(
            f"[student.adapter] targets {', '.join(missing)}: this network has no such linear layer. It has: {', '.join(there)}."
        )
    return sorted({name for found in ends.values() for name in found})


def _linear_layers(network: Any) -> list[str]:
    """All of them but the head; GPT-2's Conv1D is one, transposed."""
    head = network.get_output_embeddings() if hasattr(network, "get_output_embeddings") else None
    return [
        name
        for name, module in network.named_modules()
        if (type(module) is torch.nn.Linear or type(module).__name__ == "Conv1D") and module is not head
    ]


# -- 4 and 8 bits ------------------------------------------------------------------------------------------------------------


def _quantise(network: Any, targets: Sequence[str], bits: int) -> None:
    """Replace the target layers by frozen ones of 4 (NF4) or 8 bits; what the architecture keeps in float32 stays as it is.

    peft asks the network itself how its weights were loaded, hence the flags.
    """
    library = _library("bitsandbytes", f"An adapter on {bits}-bit weights (QLoRA)", "qlora")
    kept = set(getattr(network, "_keep_in_fp32_modules", None) or ())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fit = [
        name for name in targets if name.rpartition(".")[2] not in kept and type(network.get_submodule(name)) is torch.nn.Linear
    ]
    if not fit:
        raise RecipeError(
            f"[student.adapter] bits = {bits}: none of the adapted layers ({', '.join(sorted(targets)[:4])}, ...) can be kept in "
            "fewer bits; GPT-2's, for one, are transposed. Leave bits out, or take a student of another family."
        )
    for name in fit:
        parent, _, leaf = name.rpartition(".")
        layer = network.get_submodule(name)
        try:
            quantised = _in_bits(library, layer, bits).to(device)
        except Exception as exc:  # a library of kernels, which fail in any way where they do not run
            raise RecipeError(
                f"[student.adapter] bits = {bits}: bitsandbytes does not run on this machine's {device} ({exc}). "
                "Leave bits out: LoRA on full weights needs no such library."
            ) from exc
        setattr(network.get_submodule(parent), leaf, quantised)
    network.is_loaded_in_4bit, network.is_loaded_in_8bit = bits == 4, bits == 8


def _in_bits(library: Any, layer: Any, bits: int) -> Any:
    """The same layer, frozen, to be quantised when it is put on a device."""
    shape = {"input_features": layer.in_features, "output_features": layer.out_features, "bias": layer.bias is not None}
    if bits == 4:
        new = library.nn.Linear4bit(**shape, quant_type="nf4", compute_dtype=torch.float32)
        new.weight = library.nn.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
        new.support_avx512bf16_for_cpu = False  # it would pack the weights anew for evaluation, rounding their scales for good
    else:
        new = library.nn.Linear8bitLt(**shape, has_fp16_weights=False)
        new.weight = library.nn.Int8Params(layer.weight.data, requires_grad=False, has_fp16_weights=False)
    new.bias = layer.bias
    return new


def _full(layer: Any) -> Tensor:
    """A base layer's weight in float32."""
    weight = layer.weight
    if type(weight).__name__ == "Params4bit":
        full = _library("bitsandbytes", "A 4-bit weight", "qlora").functional.dequantize_4bit(weight.data, weight.quant_state)
    elif type(weight).__name__ == "Int8Params":
        scales = layer.state.SCB if weight.SCB is None else weight.SCB  # moved there by the first forward pass
        full = _library("bitsandbytes", "An 8-bit weight", "qlora").functional.int8_vectorwise_dequant(weight.data, scales)
    else:
        full = weight
    plain: Tensor = full.detach().float()
    return plain


def _library(name: str, what: str, extra: str) -> Any:
    """An optional library. Raises MissingExtraError where it is not installed or cannot be imported."""
    try:
        return import_module(name)
    except ImportError as exc:
        raise MissingExtraError(what, name.partition(".")[0], extra) from exc

"""What makes a resumed run the same run, as tensors by name: weights, the optimizer's moments, the random number generators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Tensors = Mapping[str, Mapping[str, Tensor]]


def pack(network: Any, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Tensor]]:
    """The state, in groups; tied weights once."""
    moments = optimizer.state_dict()["state"]
    return {
        "weights": {name: parameter.detach() for name, parameter in network.named_parameters()},
        "optimizer": {f"{index}.{name}": value for index, values in moments.items() for name, value in values.items()},
        "random": _random_state(),
    }


def unpack(state: Tensors, network: Any, optimizer: torch.optim.Optimizer) -> None:
    """Put a packed state back. Rates and decay are the recipe's, so the optimizer keeps its own."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(state["weights"][name])
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in state["optimizer"].items():
        index, _, name = key.partition(".")
        moments.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(state["random"]["cpu"])
    if "cuda" in state["random"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["random"]["cuda"])


def _random_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state

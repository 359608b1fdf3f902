"""What makes a resumed run the same run, as tensors by name: all that is trained, the optimizer's moments, what else changes.

Random numbers are not in it: every step has its own, drawn from (seed, step, process), so there is nothing to go back to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stillhouse.training.averaging import RunningAverage
from stillhouse.training.feeds import Feed
from stillhouse.training.objective import Objective

Tensors = Mapping[str, Mapping[str, Tensor]]


class RunState:
    """Everything of a run that a step changes. Frozen weights are the base's, and not kept."""

    def __init__(
        self,
        network: Any,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        feed: Feed,
        average: RunningAverage | None,
    ) -> None:
        self._trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        self._objective = objective
        self._optimizer = optimizer
        self._feed = feed
        self._average = average

    @property
    def trained(self) -> list[nn.Parameter]:
        """What the optimizer moves, the student's first."""
        return [*self._trained.values(), *self._objective.parameters()]

    def pack(self) -> dict[str, dict[str, Tensor]]:
        """The state, in groups; tied weights once, empty groups not at all."""
        moments = self._optimizer.state_dict()["state"]
        groups: dict[str, Mapping[str, Tensor]] = {
            "weights": self._trained,
            "beside": {str(i): parameter for i, parameter in enumerate(self._objective.parameters())},
            "optimizer": {f"{index}.{name}": value for index, values in moments.items() for name, value in values.items()},
            "objective": self._objective.state(),
            "feed": self._feed.state(),
            "average": {} if self._average is None else self._average.state(),
        }
        return {group: {name: tensor.detach() for name, tensor in them.items()} for group, them in groups.items() if them}

    def unpack(self, state: Tensors) -> None:
        """Put a packed state back. Rates and decay are the recipe's, so the optimizer keeps its own."""
        beside = {str(i): parameter for i, parameter in enumerate(self._objective.parameters())}
        with torch.no_grad():
            for group, parameters in (("weights", self._trained), ("beside", beside)):
                for name, parameter in parameters.items():
                    parameter.copy_(state[group][name])
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in state.get("optimizer", {}).items():
            index, _, name = key.partition(".")
            moments.setdefault(int(index), {})[name] = value
        self._optimizer.load_state_dict({"state": moments, "param_groups": self._optimizer.state_dict()["param_groups"]})
        self._objective.load_state(state.get("objective", {}))
        self._feed.load_state(state.get("feed", {}))
        if self._average is not None:
            self._average.load_state(state["average"])


def seed_from(*numbers: int) -> None:
    """All of torch's generators start where these numbers say: unrelated for numbers that differ in one place only."""
    words: Sequence[int] = [number % 2**64 for number in numbers]
    torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 1)

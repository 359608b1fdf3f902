"""A running average of the weights (Polyak & Juditsky 1992): less noise than the last step's, at no cost in steps.

It is what is watched on the valid split and what is saved. The network itself goes on from its own weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class RunningAverage:
    """average = d * average + (1 - d) * weights after each step, d = min(decay, (1 + t) / (10 + t)) at step t (from 1).

    The second term keeps a short run from being mostly what it started from.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self._parameters = parameters
        self._decay = decay
        self._average = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._average, [parameter.detach() for parameter in self._parameters], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network has the average's weights meanwhile."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def put(self) -> None:
        """The network has the average's weights from now on."""
        for parameter, average in zip(self._parameters, self._average, strict=True):
            parameter.copy_(average)

    def state(self) -> Mapping[str, Tensor]:
        """For the checkpoint, by place."""
        return {str(i): average for i, average in enumerate(self._average)}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        for i, average in enumerate(self._average):
            average.copy_(state[str(i)])

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, average in zip(self._parameters, self._average, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)

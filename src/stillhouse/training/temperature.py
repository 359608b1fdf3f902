"""The temperature of each row: one for the run, annealed over it, or one for each token by how unsure the teacher is there.

Shapes: N supervised rows.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stillhouse.losses.sources import Source
from stillhouse.method import WhiteBox
from stillhouse.training.reading import entropy


class Temperature:
    """Gives temperature_N, > 0. A row's divergence is multiplied by its own T^2, so that none counts for less."""

    def __init__(self, method: WhiteBox) -> None:
        self._start = method.temperature
        self._end = method.temperature if method.temperature_end is None else method.temperature_end
        self._by_token = method.temperature_by == "token"

    def at(self, progress: float) -> float:
        """The run's temperature when `progress` (0 to 1) of it is done: linear from the first to the last."""
        return self._start + (self._end - self._start) * progress

    def of_rows(self, progress: float, source: Source, tokens_N: Tensor) -> Tensor:
        """temperature_N, float32. By token: T where the teacher is certain, 1 where it is as unsure as can be, and between them

            T_n = T^(1 - H_n / log V),   H_n its entropy at temperature 1

        so that rows which are soft already are not softened further. (Our own choice; the idea of a temperature for each example
        by its entropy is Zhu et al. 2024's.)
        """
        temperature = self.at(progress)
        if not self._by_token or temperature == 1.0:
            return torch.full(tokens_N.shape, temperature, device=tokens_N.device)
        unsure_N = entropy(source, tokens_N) / math.log(max(source.vocabulary, 2))
        return torch.pow(temperature, 1.0 - unsure_N.clamp(0.0, 1.0))

"""Where a loss's targets come from, a slice of rows at a time, so that no N x V tensor of the teacher's need ever stand.

Live and cached hidden states are projected by the teacher's head; dense scores are a classifier's; the sparse ones come from disk
or from an API. Only the common vocabulary is compared: `vocabulary` is how many scores the teacher has.

Shapes: N rows of the micro-batch, M rows of the slice, H the teacher's width, V vocabulary, K kept tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from stillhouse.losses.base import Target, at_least_float32
from stillhouse.tensors import Head


class Source(Protocol):
    """The teacher's side of a micro-batch."""

    @property
    def vocabulary(self) -> int:
        """How many scores it has; the student's first so many are compared with them."""

    def target(self, rows: slice, tokens_M: Tensor, temperature_M1: Tensor, size: int) -> Target:
        """What it says at `rows`, its scores divided by the temperature, over the first `size` of them."""


@dataclass(frozen=True)
class Projected:
    """Hidden states and the head that reads them: a live teacher's, or tier A of the cache."""

    hidden_NH: Tensor
    head: Head

    @property
    def vocabulary(self) -> int:
        return self.head.size

    def target(self, rows: slice, tokens_M: Tensor, temperature_M1: Tensor, size: int) -> Target:
        scores_MV = self.head.first(size).scores(self.hidden_NH[rows])
        return Target(tokens_M, (at_least_float32(scores_MV) / temperature_M1).log_softmax(dim=-1))


@dataclass(frozen=True)
class Dense:
    """All scores: a classifier's."""

    scores_NV: Tensor

    @property
    def vocabulary(self) -> int:
        return self.scores_NV.shape[-1]

    def target(self, rows: slice, tokens_M: Tensor, temperature_M1: Tensor, size: int) -> Target:
        scores_MV = self.scores_NV[rows, :size]
        return Target(tokens_M, (at_least_float32(scores_MV) / temperature_M1).log_softmax(dim=-1))


@dataclass(frozen=True)
class Mixture:
    """Several teachers: the weighted mean of their distributions, with weights of its own for each row."""

    sources: tuple[Source, ...]
    """M of them, each with all scores."""
    weights_NM: Tensor
    """Each row sums to 1; a teacher with weight 0 does not count."""

    @property
    def vocabulary(self) -> int:
        return min(source.vocabulary for source in self.sources)

    def target(self, rows: slice, tokens_M: Tensor, temperature_M1: Tensor, size: int) -> Target:
        parts = []
        for source, weight_N in zip(self.sources, self.weights_NM.unbind(-1), strict=True):
            log_probs_MV = source.target(rows, tokens_M, temperature_M1, size).log_probs_NV
            assert log_probs_MV is not None, "a mixture is of whole distributions"
            parts.append(log_probs_MV + weight_N[rows, None].log())
        return Target(tokens_M, torch.logsumexp(torch.stack(parts), dim=0))

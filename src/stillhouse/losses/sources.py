"""Where a loss's targets come from, some rows at a time, so that no N x V tensor of the teacher's need ever stand.

Live and cached hidden states are projected by the teacher's head; dense scores are a classifier's; the sparse ones come from disk
or from an API. Only the common vocabulary is compared: `vocabulary` is how many scores the teacher has. None of them waits for
the device: nothing here looks at a value.

Shapes: N rows of the micro-batch, M rows that are asked for, H the teacher's width, V vocabulary, K kept tokens, S sources.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from stillhouse.losses.base import Rows, Target, at_least_float32
from stillhouse.tensors import Head


class Source(Protocol):
    """The teacher's side of a micro-batch."""

    @property
    def vocabulary(self) -> int:
        """How many scores it has; the student's first so many are compared with them."""

    def target(self, rows: Rows, tokens_M: Tensor, temperature_M1: Tensor, size: int) -> Target:
        """What it says at `rows`, its scores divided by the temperature, over the first `size` of them."""


@dataclass(frozen=True)
class Projected:
    """Hidden states and the head that reads them: a live teacher's, or tier A of the cache."""

    hidden_NH: Tensor
    head: Head
    _cut: dict[tuple[int, torch.dtype], Head] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The head as slices need it, so that its weights are converted once a micro-batch and not once a slice."""

    @property
    def vocabulary(self) -> int:
        return self.head.size

    def target(self, rows: Rows, tokens_M: Tensor, temperature_M1: Tensor, size: int) -> Target:
        with torch.no_grad():
            head = self._head(size)
            scores_MV = at_least_float32(head.scores(self.hidden_NH[rows].to(head.weight_VH.dtype)))
            return Target(tokens_M, _log_probs(scores_MV.div_(temperature_M1)))

    def _head(self, size: int) -> Head:
        """Its first `size` rows, in the weights' own precision (states from a cache have less), or in autocast's."""
        device = self.hidden_NH.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.head.weight_VH.dtype
        if (size, dtype) not in self._cut:
            head = self.head.first(size)
            self._cut[size, dtype] = replace(head, weight_VH=head.weight_VH.to(dtype))
        return self._cut[size, dtype]


@dataclass(frozen=True)
class Dense:
    """All scores: a classifier's."""

    scores_NV: Tensor

    @property
    def vocabulary(self) -> int:
        return self.scores_NV.shape[-1]

    def target(self, rows: Rows, tokens_M: Tensor, temperature_M1: Tensor, size: int) -> Target:
        scores_MV = self.scores_NV.detach()[rows][:, :size]
        return Target(tokens_M, _log_probs(at_least_float32(scores_MV) / temperature_M1))


@dataclass(frozen=True)
class Sparse:
    """The likeliest tokens: tier B of the cache, or an API's. Their log-probabilities are at the temperature they were kept at,
    whatever the loss asks for: what would make others of them, the sum over all tokens, is not there."""

    ids_NK: Tensor
    """int64. Where fewer than K were kept, the rest repeat an id with log-probability -inf."""
    log_probs_NK: Tensor
    """float16 or wider."""
    vocabulary: int

    def target(self, rows: Rows, tokens_M: Tensor, temperature_M1: Tensor, size: int) -> Target:
        """Tokens beyond `size` go to the tail."""
        ids_MK, log_probs_MK = self.ids_NK[rows], at_least_float32(self.log_probs_NK[rows])
        beyond_MK = ids_MK >= size
        return Target(
            tokens_M, ids_NK=ids_MK.masked_fill(beyond_MK, 0), log_probs_NK=log_probs_MK.masked_fill(beyond_MK, -math.inf)
        )


@dataclass(frozen=True)
class Sampled:
    """Tokens drawn from the distribution at temperature 1: tier C of the cache."""

    ids_NK: Tensor
    """int64, different from each other but where the count is 0."""
    counts_NK: Tensor
    """How often each was drawn."""
    vocabulary: int

    def target(self, rows: Rows, tokens_M: Tensor, temperature_M1: Tensor, size: int) -> Target:
        """Draws beyond `size` are left out."""
        ids_MK, counts_MK = self.ids_NK[rows], self.counts_NK[rows]
        beyond_MK = ids_MK >= size
        return Target(tokens_M, ids_NK=ids_MK.masked_fill(beyond_MK, 0), counts_NK=counts_MK.masked_fill(beyond_MK, 0))


@dataclass(frozen=True)
class Mixture:
    """The weighted mean of several distributions, each of which has all scores."""

    sources: tuple[Source, ...]
    weights_NS: Tensor
    """Each row's sum to 1."""

    @property
    def vocabulary(self) -> int:
        """The smallest."""
        return min(source.vocabulary for source in self.sources)

    def target(self, rows: Rows, tokens_M: Tensor, temperature_M1: Tensor, size: int) -> Target:
        """Raises ValueError where a source keeps only some tokens."""
        log_weights_MS = at_least_float32(self.weights_NS[rows]).log()
        mixed_MV: Tensor | None = None
        for source, log_weight_M in zip(self.sources, log_weights_MS.unbind(dim=-1), strict=True):
            log_p_MV = source.target(rows, tokens_M, temperature_M1, size).log_probs_NV
            if log_p_MV is None:
                raise ValueError(f"{type(source).__name__} keeps only some tokens; a mixture needs the probabilities of all.")
            weighted_MV = log_p_MV + log_weight_M[:, None]
            mixed_MV = weighted_MV if mixed_MV is None else torch.logaddexp(mixed_MV, weighted_MV)
        return Target(tokens_M, mixed_MV)


def _log_probs(scores_MV: Tensor) -> Tensor:
    """Their log-softmax, written over them."""
    return torch.log_softmax(scores_MV, dim=-1, out=scores_MV)

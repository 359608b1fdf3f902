"""Head, softmax, divergence and cross-entropy in one, over slices of rows: the sum and its gradients, never all scores at once.

Shapes: N supervised rows, H the student's width, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from stillhouse.losses.base import Loss, at_least_float32
from stillhouse.losses.sources import Source
from stillhouse.tensors import Head


class Sums(NamedTuple):
    """Over the rows of a micro-batch."""

    total: Tensor
    """sum_n kd_N * D_n + ce_N * CE_n: a scalar with its graph."""
    divergence_N: Tensor
    """D_n, without graph; zeros where there is no divergence."""
    cross_entropy_N: Tensor
    """CE_n, without graph."""


def weighted_sums(
    hidden_NH: Tensor,
    head: Head,
    tokens_N: Tensor,
    *,
    ce_N: Tensor,
    kd_N: Tensor | None = None,
    loss: Loss | None = None,
    source: Source | None = None,
    temperature_N: Tensor | None = None,
) -> Sums:
    """The sum over rows of `kd_N` * loss(teacher, student, at temperature) + `ce_N` * cross-entropy (at temperature 1).

    The divergence compares the scores that both have (the smaller vocabulary's); cross-entropy is over all of the student's.
    """
    scores_NV = at_least_float32(head.scores(hidden_NH))
    cross_entropy_N = -scores_NV.log_softmax(-1).gather(-1, tokens_N[:, None]).squeeze(-1)
    total = (cross_entropy_N * ce_N).sum()
    divergence_N = cross_entropy_N.new_zeros(cross_entropy_N.shape)
    if loss is not None and source is not None and kd_N is not None and temperature_N is not None:
        size = min(source.vocabulary, head.size)
        temperature_N1 = temperature_N[:, None]
        target = source.target(slice(None), tokens_N, temperature_N1, size)
        divergence_N = loss(scores_NV[:, :size] / temperature_N1, target)
        total = total + (divergence_N * kd_N).sum()
    return Sums(total, divergence_N.detach(), cross_entropy_N.detach())

"""Reverse Kullback-Leibler divergence, student to teacher (MiniLLM: Gu et al. 2024, eq. 1, at every token).

Shapes: N rows, V vocabulary; p the teacher, q the student.
"""

from __future__ import annotations

from torch import Tensor

from stillhouse.losses.base import Loss, Target, dense
from stillhouse.signal import Signal


class ReverseKL(Loss):
    """sum_v q(v) (log q(v) - log p(v)). Mode-seeking; zero at equality."""

    needs: Signal = "logits"

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats. A token that the teacher rules out counts as one of probability 1e-38, so the loss stays finite."""
        return (log_q_NV.exp() * (log_q_NV - dense(target, self))).sum(dim=-1)

    def value_and_gradient(self, log_q_NV: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Gradient: q (log q - log p - K), K the loss."""
        q_NV = log_q_NV.exp()
        ratio_NV = log_q_NV - dense(target, self)
        weighted_NV = q_NV * ratio_NV
        loss_N = weighted_NV.sum(dim=-1)
        return loss_N, weighted_NV.sub_(q_NV.mul_(loss_N[:, None]))

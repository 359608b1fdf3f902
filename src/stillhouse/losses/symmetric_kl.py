"""Both Kullback-Leibler divergences, weighted: half of each is half of Jeffreys' divergence (Jeffreys 1946).

Shapes: N rows, V vocabulary; p the teacher, q the student.
"""

from __future__ import annotations

from torch import Tensor

from stillhouse.losses.base import Loss, Target, dense, within
from stillhouse.signal import Signal


class SymmetricKL(Loss):
    """`ratio` * KL(p, q) + (1 - `ratio`) * KL(q, p). At 0.5 it weighs as much as one of them; zero at equality."""

    needs: Signal = "logits"

    def __init__(self, ratio: float = 0.5) -> None:
        self._ratio = within(self, "ratio", ratio)

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats: sum (ratio p - (1 - ratio) q) (log p - log q)."""
        log_p_NV = dense(target, self)
        return (self._difference(log_p_NV.exp(), log_q_NV.exp()) * (log_p_NV - log_q_NV)).sum(dim=-1)

    def value_and_gradient(self, log_q_NV: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Gradient: ratio (q - p) + (1 - ratio) q (log q - log p - KL(q, p))."""
        log_p_NV = dense(target, self)
        p_NV, q_NV = log_p_NV.exp(), log_q_NV.exp()
        ratio_NV = log_q_NV - log_p_NV
        loss_N = -(self._difference(p_NV, q_NV) * ratio_NV).sum(dim=-1)
        reverse_N1 = (q_NV * ratio_NV).sum(dim=-1, keepdim=True)
        reverse_NV = ratio_NV.sub_(reverse_N1).mul_(q_NV).mul_(1 - self._ratio)
        return loss_N, reverse_NV.add_(q_NV.sub_(p_NV), alpha=self._ratio)

    def _difference(self, p_NV: Tensor, q_NV: Tensor) -> Tensor:
        return self._ratio * p_NV - (1 - self._ratio) * q_NV

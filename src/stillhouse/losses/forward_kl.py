"""Forward Kullback-Leibler divergence, teacher to student (Hinton et al. 2015; the teacher's entropy included).

Shapes: N rows, V vocabulary; p the teacher, q the student.
"""

from __future__ import annotations

from torch import Tensor

from stillhouse.losses.base import Loss, Target, dense
from stillhouse.signal import Signal


class ForwardKL(Loss):
    """sum_v p(v) (log p(v) - log q(v)). Mean-seeking; zero at equality."""

    needs: Signal = "logits"

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats. A token that the teacher rules out (-inf) adds nothing. Raises ValueError without its distribution."""
        log_p_NV = dense(target, self)
        return (log_p_NV.exp() * (log_p_NV - log_q_NV)).sum(dim=-1)

    def value_and_gradient(self, log_q_NV: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Gradient: q - p."""
        log_p_NV = dense(target, self)
        p_NV = log_p_NV.exp()
        loss_N = log_p_NV.sub_(log_q_NV).mul_(p_NV).sum(dim=-1)
        return loss_N, log_q_NV.exp().sub_(p_NV)

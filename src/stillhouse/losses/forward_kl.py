"""Forward Kullback-Leibler divergence, teacher to student (Hinton et al. 2015; the teacher's entropy included)."""

from __future__ import annotations

from torch import Tensor

from stillhouse.losses.base import Loss, Target, dense
from stillhouse.signal import Signal


class ForwardKL(Loss):
    """sum_v p_teacher(v) (log p_teacher(v) - log p_student(v)). Mean-seeking; zero at equality."""

    needs: Signal = "logits"

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats. A token that the teacher rules out (-inf) adds nothing. Raises ValueError without its distribution."""
        log_p_NV = dense(target, self)
        p_NV = log_p_NV.exp()
        return (p_NV * (log_p_NV - log_q_NV)).masked_fill(p_NV == 0, 0.0).sum(dim=-1)

    def value_and_gradient(self, log_q_NV: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Gradient: q - p."""
        return self.value(log_q_NV, target), log_q_NV.exp() - dense(target, self).exp()

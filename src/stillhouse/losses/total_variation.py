"""Total variation distance (f-DISTILL: Wen et al. 2023, section 2.1).

Shapes: N rows, V vocabulary; p the teacher, q the student.
"""

from __future__ import annotations

from torch import Tensor

from stillhouse.losses.base import Loss, Target, dense
from stillhouse.signal import Signal


class TotalVariation(Loss):
    """sum_v |p(v) - q(v)| / 2: between 0 and 1, symmetric, and no logarithm that a rare token could blow up."""

    needs: Signal = "logits"

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N, without unit."""
        return (dense(target, self).exp() - log_q_NV.exp()).abs().sum(dim=-1) / 2

    def value_and_gradient(self, log_q_NV: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Gradient: q (s - sum q s), s = sign(q - p) / 2."""
        q_NV = log_q_NV.exp()
        difference_NV = q_NV - dense(target, self).exp_()
        loss_N = difference_NV.abs().sum(dim=-1) / 2
        weighted_NV = difference_NV.sign_().div_(2).mul_(q_NV)
        return loss_N, weighted_NV.sub_(q_NV.mul_(weighted_NV.sum(dim=-1, keepdim=True)))

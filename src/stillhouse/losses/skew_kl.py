"""Skew forward KL (DistiLLM: Ko et al. 2024, eq. 4; alpha 0.1 there).

Shapes: N rows, V vocabulary; p the teacher, q the student, m their mixture.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stillhouse.losses.base import Loss, Target, dense, within
from stillhouse.signal import Signal


class SkewKL(Loss):
    """KL(p, m), m = alpha p + (1 - alpha) q: forward KL whose ratios, and so gradients, are bounded by 1 / alpha."""

    needs: Signal = "logits"

    def __init__(self, alpha: float = 0.1) -> None:
        self._alpha = within(self, "alpha", alpha, 1e-6, 1 - 1e-6)

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats."""
        log_p_NV = dense(target, self)
        return (log_p_NV.exp() * (log_p_NV - self._mixture(log_p_NV, log_q_NV))).sum(dim=-1)

    def value_and_gradient(self, log_q_NV: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Gradient: q sum(r) - r, r = (1 - alpha) q p / m."""
        log_p_NV = dense(target, self)
        log_ratio_NV = log_p_NV - self._mixture(log_p_NV, log_q_NV)
        loss_N = (log_p_NV.exp() * log_ratio_NV).sum(dim=-1)
        r_NV = log_ratio_NV.add_(log_q_NV).exp_().mul_(1 - self._alpha)
        return loss_N, log_q_NV.exp().mul_(r_NV.sum(dim=-1, keepdim=True)).sub_(r_NV)

    def _mixture(self, log_p_NV: Tensor, log_q_NV: Tensor) -> Tensor:
        return torch.logaddexp(log_p_NV + math.log(self._alpha), log_q_NV + math.log1p(-self._alpha))

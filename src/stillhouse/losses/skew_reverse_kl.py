"""Skew reverse KL (DistiLLM: Ko et al. 2024, section 3.1; alpha 0.1 there).

Shapes: N rows, V vocabulary; p the teacher, q the student, m their mixture.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stillhouse.losses.base import Loss, Target, dense, within
from stillhouse.signal import Signal


class SkewReverseKL(Loss):
    """KL(q, m), m = alpha q + (1 - alpha) p: reverse KL that a token the teacher rules out costs at most log 1 / alpha."""

    needs: Signal = "logits"

    def __init__(self, alpha: float = 0.1) -> None:
        self._alpha = within(self, "alpha", alpha, 1e-6, 1 - 1e-6)

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats."""
        return (log_q_NV.exp() * (log_q_NV - self._mixture(dense(target, self), log_q_NV))).sum(dim=-1)

    def value_and_gradient(self, log_q_NV: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Gradient: h - q sum(h), h = q (log q - log m + 1 - alpha q / m)."""
        q_NV = log_q_NV.exp()
        log_ratio_NV = log_q_NV - self._mixture(dense(target, self), log_q_NV)
        loss_N = (q_NV * log_ratio_NV).sum(dim=-1)
        h_NV = log_ratio_NV.exp().mul_(-self._alpha).add_(log_ratio_NV).add_(1).mul_(q_NV)
        return loss_N, h_NV.sub_(q_NV.mul_(h_NV.sum(dim=-1, keepdim=True)))

    def _mixture(self, log_p_NV: Tensor, log_q_NV: Tensor) -> Tensor:
        return torch.logaddexp(log_q_NV + math.log(self._alpha), log_p_NV + math.log1p(-self._alpha))

"""Adaptive KL: forward and reverse, weighted by where student and teacher differ (AKL: Wu et al. 2025, section 4).

Shapes: N rows, V vocabulary; p the teacher, q the student.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stillhouse.losses.base import Loss, Target, dense, within
from stillhouse.signal import Signal


class AdaptiveKL(Loss):
    """w KL(p, q) + (1 - w) KL(q, p), w = gap in the head / whole gap, each row its own.

    The head is the teacher's likeliest tokens up to the one that brings them to `mass`; a gap is sum |p - q|. Forward KL fits
    the head first and reverse KL the tail, so the weight goes to where there is more to learn. No gradient flows through it.
    """

    needs: Signal = "logits"

    def __init__(self, mass: float = 0.5) -> None:
        self._mass = within(self, "mass", mass)

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats."""
        log_p_NV = dense(target, self)
        p_NV, q_NV = log_p_NV.exp(), log_q_NV.exp()
        weight_N = self._weight(p_NV, q_NV.detach())
        ratio_NV = log_p_NV - log_q_NV
        return weight_N * (p_NV * ratio_NV).sum(dim=-1) - (1 - weight_N) * (q_NV * ratio_NV).sum(dim=-1)

    def value_and_gradient(self, log_q_NV: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Gradient: w (q - p) + (1 - w) q (log q - log p - KL(q, p))."""
        log_p_NV = dense(target, self)
        p_NV, q_NV = log_p_NV.exp(), log_q_NV.exp()
        weight_N1 = self._weight(p_NV, q_NV)[:, None]
        ratio_NV = log_q_NV - log_p_NV
        forward_N1 = -(p_NV * ratio_NV).sum(dim=-1, keepdim=True)
        reverse_N1 = (q_NV * ratio_NV).sum(dim=-1, keepdim=True)
        reverse_NV = ratio_NV.sub_(reverse_N1).mul_(q_NV)
        loss_N = torch.lerp(reverse_N1, forward_N1, weight_N1).squeeze(-1)
        return loss_N, torch.lerp(reverse_NV, q_NV - p_NV, weight_N1)

    def _weight(self, p_NV: Tensor, q_NV: Tensor) -> Tensor:
        """w_N; a half where there is no gap at all."""
        gap_NV = (p_NV - q_NV).abs()
        whole_N = gap_NV.sum(dim=-1)
        head_N = (gap_NV * self._head(p_NV)).sum(dim=-1)
        return torch.where(whole_N > 0, head_N / whole_N.clamp(min=torch.finfo(whole_N.dtype).tiny), 0.5)

    def _head(self, p_NV: Tensor) -> Tensor:
        """1 at the head's tokens, in the vocabulary's order: what is found in sorted order is scattered back."""
        sorted_NV, order_NV = p_NV.sort(dim=-1, descending=True)
        before_NV = sorted_NV.cumsum(dim=-1) - sorted_NV
        return torch.zeros_like(p_NV).scatter_(-1, order_NV, (before_NV < self._mass).to(p_NV.dtype))

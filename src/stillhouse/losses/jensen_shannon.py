"""Generalized Jensen-Shannon divergence (GKD: Agarwal et al. 2024, eq. 1).

Its two ends are the KLs themselves: the formula is 0 there, which is a limit of its scale and not of what it teaches.

Shapes: N rows, V vocabulary; p the teacher, q the student, m their mixture.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stillhouse.losses.base import Loss, Target, dense, within
from stillhouse.signal import Signal


class JensenShannon(Loss):
    """beta KL(p, m) + (1 - beta) KL(q, m), m = beta p + (1 - beta) q. beta 0: KL(p, q); beta 1: KL(q, p).

    Near its ends it shrinks like beta (1 - beta): at 0.1 its gradient is about a tenth of the KL's. `normalise` divides by that
    product, which makes it continuous in beta and keeps one learning rate right; off by default, as in the paper.
    """

    needs: Signal = "logits"

    def __init__(self, beta: float = 0.5, *, normalise: bool = False) -> None:
        self._beta = within(self, "beta", beta)
        self._scale = 1 / (beta * (1 - beta)) if normalise and 0 < beta < 1 else 1.0

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats."""
        beta, log_p_NV = self._beta, dense(target, self)
        if beta == 0:
            return (log_p_NV.exp() * (log_p_NV - log_q_NV)).sum(dim=-1)
        if beta == 1:
            return (log_q_NV.exp() * (log_q_NV - log_p_NV)).sum(dim=-1)
        log_m_NV = torch.logaddexp(log_q_NV + math.log1p(-beta), log_p_NV + math.log(beta))
        teacher_N = (log_p_NV.exp() * (log_p_NV - log_m_NV)).sum(dim=-1)
        student_N = (log_q_NV.exp() * (log_q_NV - log_m_NV)).sum(dim=-1)
        return (beta * teacher_N + (1 - beta) * student_N) * self._scale

    def value_and_gradient(self, log_q_NV: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Gradient: (1 - beta) q (log q - log m - KL(q, m)); at the ends the KLs'."""
        beta, log_p_NV = self._beta, dense(target, self)
        p_NV, q_NV = log_p_NV.exp(), log_q_NV.exp()
        if beta == 0:
            return log_p_NV.sub_(log_q_NV).mul_(p_NV).sum(dim=-1), q_NV.sub_(p_NV)
        # Where both are below the smallest normal number, so are their products with the logarithm: any finite one will do.
        log_m_NV = _mean(q_NV, p_NV, beta) if beta < 1 else log_p_NV
        student_NV = (log_q_NV - log_m_NV).mul_(q_NV)
        student_N = student_NV.sum(dim=-1)
        teacher_N = log_p_NV.sub_(log_m_NV).mul_(p_NV).sum(dim=-1) if beta < 1 else torch.zeros_like(student_N)
        share = (1 - beta if beta < 1 else 1.0) * self._scale
        loss_N = beta * self._scale * teacher_N + share * student_N
        return loss_N, student_NV.sub_(q_NV.mul_(student_N[:, None])).mul_(share)


def _mean(q_NV: Tensor, p_NV: Tensor, beta: float) -> Tensor:
    """log m_NV: for a closed form one logarithm does, where autograd would want `logaddexp`."""
    return torch.lerp(q_NV, p_NV, beta).clamp_(min=torch.finfo(q_NV.dtype).tiny).log_()

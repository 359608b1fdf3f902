"""Forward KL over the teacher's k likeliest tokens and one bucket for all others.

Without the bucket it would be biased and could fall below zero (Anshumann et al. 2025, section 3); with it, it is a divergence
over k + 1 outcomes, never more than the whole one.

Shapes: N rows, V vocabulary, K kept tokens; p the teacher, q the student.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stillhouse.losses.base import LEAST, Loss, Target, whole
from stillhouse.signal import Signal

LEAST_TAIL = 1e-6
"""The student's tail counts as this much at least, for it stands in a logarithm. The teacher's is a weight, and is not lifted."""


class TopK(Loss):
    """sum_K p (log p - log q) + p_tail (log p_tail - log q_tail). From a dense target it takes the `k` likeliest itself."""

    needs: Signal = "top_logprobs"

    def __init__(self, k: int = 64) -> None:
        self._k = whole(self, "k", k)

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats. Raises ValueError for a target that has neither kept tokens nor all of them."""
        ids_NK, log_p_NK, kept_NK = self._kept(target)
        log_q_NK = log_q_NV.gather(-1, ids_NK)
        p_NK = log_p_NK.exp() * kept_NK
        tail_N = _tail(p_NK)
        log_tail_N = _log_student_tail(log_q_NK, kept_NK)[0]
        return (p_NK * (log_p_NK - log_q_NK)).sum(dim=-1) + torch.xlogy(tail_N, tail_N) - tail_N * log_tail_N

    def value_and_gradient(self, log_q_NV: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Gradient: q - p at kept tokens, q (1 - p_tail / q_tail) at the others; P q - p and P q where q_tail is below the least,
        P the teacher's kept mass."""
        ids_NK, log_p_NK, kept_NK = self._kept(target)
        log_q_NK = log_q_NV.gather(-1, ids_NK)
        p_NK = log_p_NK.exp() * kept_NK
        kept_N, tail_N = p_NK.sum(dim=-1), _tail(p_NK)
        log_tail_N, clamped_N = _log_student_tail(log_q_NK, kept_NK)
        loss_N = (p_NK * (log_p_NK - log_q_NK)).sum(dim=-1) + torch.xlogy(tail_N, tail_N) - tail_N * log_tail_N
        lift_N = torch.where(clamped_N, torch.zeros_like(tail_N), tail_N * (-log_tail_N).exp())
        all_N = kept_N + torch.where(clamped_N, torch.zeros_like(tail_N), tail_N)
        gradient_NV = log_q_NV.exp().mul_((all_N - lift_N)[:, None])
        return loss_N, gradient_NV.scatter_add_(-1, ids_NK, lift_N[:, None] * log_q_NK.exp() * kept_NK - p_NK)

    def _kept(self, target: Target) -> tuple[Tensor, Tensor, Tensor]:
        """ids_NK, log_p_NK (finite), and 1 where there is a token, 0 where K is only filled up."""
        if target.ids_NK is not None and target.log_probs_NK is not None:
            ids_NK, log_p_NK = target.ids_NK, target.log_probs_NK
        elif target.log_probs_NV is not None:
            log_p_NK, ids_NK = target.log_probs_NV.topk(min(self._k, target.log_probs_NV.shape[-1]), dim=-1)
        else:
            raise ValueError("TopK needs the log-probabilities of the teacher's likeliest tokens, and the target has none.")
        return ids_NK, log_p_NK.clamp(min=LEAST), (log_p_NK != -math.inf).to(log_p_NK.dtype)


def _tail(p_NK: Tensor) -> Tensor:
    """What is missing to 1; not below 0, where rounding would put it."""
    return (1 - p_NK.sum(dim=-1)).clamp(min=0)


def _log_student_tail(log_q_NK: Tensor, kept_NK: Tensor) -> tuple[Tensor, Tensor]:
    """log (1 - kept mass)_N, and where it had to be lifted to the least. Exact at both ends (Maechler 2012, log1mexp)."""
    log_kept_N = log_q_NK.masked_fill(kept_NK == 0, LEAST).logsumexp(dim=-1)
    most = math.log1p(-LEAST_TAIL)
    clamped_N = log_kept_N > most
    log_kept_N = log_kept_N.clamp(max=most)
    small_N = log_kept_N < -math.log(2)
    by_log1p_N = torch.log1p(-torch.where(small_N, log_kept_N, torch.full_like(log_kept_N, -1.0)).exp())
    by_expm1_N = torch.log(-torch.expm1(torch.where(small_N, torch.full_like(log_kept_N, -0.5), log_kept_N)))
    return torch.where(small_N, by_log1p_N, by_expm1_N), clamped_N

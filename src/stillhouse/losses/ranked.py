"""ULD: distributions over different vocabularies compared by rank (Boizard et al. 2024, "Towards Cross-Tokenizer Distillation").

Which token is likely is not asked, because the two sides have no tokens in common; how sure each is, is: it goes with
cross-entropy on the text, which says what is right.

Shapes: N rows, V vocabulary, K kept tokens; p the teacher, q the student.
"""

from __future__ import annotations

import math

from torch import Tensor

from stillhouse.losses.base import Loss, Target, whole
from stillhouse.signal import Signal


class Ranked(Loss):
    """sum over ranks k of |q_(k) - p_(k)|, probabilities in falling order: the Wasserstein distance of equal costs (eq. 5 there).

    The k likeliest of each side are compared; k = V is the whole. Where the teacher gives nothing (all -inf), it is 0.
    """

    needs: Signal = "top_logprobs"

    def __init__(self, k: int = 64) -> None:
        self._k = whole(self, "k", k)

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N. Raises ValueError for a target that has neither kept tokens nor all of them."""
        p_NK, kept_NK = self._sorted(target, log_q_NV.shape[-1])
        q_NK = log_q_NV.topk(p_NK.shape[-1], dim=-1).values.exp()
        return ((q_NK - p_NK).abs() * kept_NK).sum(dim=-1)

    def value_and_gradient(self, log_q_NV: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Gradient: q_i (s_i - sum_j q_j s_j), s the sign of q - p at the tokens compared, 0 at the others."""
        p_NK, kept_NK = self._sorted(target, log_q_NV.shape[-1])
        top_NK, ids_NK = log_q_NV.topk(p_NK.shape[-1], dim=-1)
        q_NK = top_NK.exp()
        difference_NK = (q_NK - p_NK) * kept_NK
        pull_NK = difference_NK.sign() * q_NK
        gradient_NV = log_q_NV.exp().mul_(-pull_NK.sum(dim=-1, keepdim=True))
        return difference_NK.abs().sum(dim=-1), gradient_NV.scatter_add_(-1, ids_NK, pull_NK)

    def _sorted(self, target: Target, size: int) -> tuple[Tensor, Tensor]:
        """The teacher's p_NK in falling order, and 1 where there is one."""
        given = target.log_probs_NK if target.log_probs_NK is not None else target.log_probs_NV
        if given is None:
            raise ValueError("Ranked needs the log-probabilities of the teacher's likeliest tokens, and the target has none.")
        log_p_NK = given.topk(min(self._k, size, given.shape[-1]), dim=-1).values
        return log_p_NK.exp(), (log_p_NK != -math.inf).to(log_p_NK.dtype)

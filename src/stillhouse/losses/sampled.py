"""Random sampling distillation (RS-KD: Anshumann et al. 2025, section 4): tokens drawn from the teacher stand for all of it.

The gradient's expectation over the draws is the forward KL's. The value is not: it is measured to the draws' own distribution,
so that it is zero where the student says what was drawn.

Shapes: N rows, V vocabulary, K different tokens that were drawn; q the student, c the share of the draws.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stillhouse.losses.base import Loss, Target, whole
from stillhouse.signal import Signal


class Sampled(Loss):
    """sum_K c (log c - log q). From a dense target it draws `samples` tokens a row itself, anew at each call, with torch's own
    random numbers: training starts them anew in each step, so there is nothing here to resume."""

    needs: Signal = "samples"

    def __init__(self, samples: int = 50) -> None:
        self._samples = whole(self, "samples", samples)

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats. Raises ValueError for a target that has neither draws nor a distribution to draw from."""
        ids_NK, share_NK = self._drawn(target, log_q_NV.dtype)
        return (torch.xlogy(share_NK, share_NK) - share_NK * log_q_NV.gather(-1, ids_NK)).sum(dim=-1)

    def value_and_gradient(self, log_q_NV: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Gradient: q - c."""
        ids_NK, share_NK = self._drawn(target, log_q_NV.dtype)
        loss_N = (torch.xlogy(share_NK, share_NK) - share_NK * log_q_NV.gather(-1, ids_NK)).sum(dim=-1)
        return loss_N, log_q_NV.exp().scatter_add_(-1, ids_NK, -share_NK)

    def _drawn(self, target: Target, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """ids_NK and shares_NK that sum to 1 in each row; all 0 in a row of which nothing was drawn."""
        if target.ids_NK is not None and target.counts_NK is not None:
            counts_NK = target.counts_NK.to(dtype)
            return target.ids_NK, counts_NK / counts_NK.sum(dim=-1, keepdim=True).clamp(min=1)
        if target.log_probs_NV is None:
            raise ValueError("Sampled needs tokens drawn from the teacher, and the target has none.")
        return self._draw(target.log_probs_NV, dtype)

    def _draw(self, log_p_NV: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The different tokens that were drawn come first, each with all of its counts; the places left over have count 0."""
        drawn_NK = torch.multinomial(log_p_NV.exp(), self._samples, replacement=True)
        ids_NK = drawn_NK.sort(dim=-1).values
        first_NK = torch.ones_like(ids_NK, dtype=torch.bool)
        first_NK[:, 1:] = ids_NK[:, 1:] != ids_NK[:, :-1]
        counts_NK = torch.zeros(ids_NK.shape, dtype=dtype, device=ids_NK.device)
        places_NK = first_NK.cumsum(dim=-1) - 1
        counts_NK.scatter_add_(-1, places_NK, torch.ones_like(counts_NK))
        kept_NK = torch.zeros_like(ids_NK).scatter_(-1, places_NK, ids_NK)
        return kept_NK, counts_NK / self._samples

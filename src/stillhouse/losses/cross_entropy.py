"""Cross-entropy against the teacher's token: sequence-level distillation (Kim & Rush 2016, eq. 7, with one sampled answer).

Shapes: N rows, V vocabulary; q the student.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stillhouse.losses.base import Loss, Target
from stillhouse.signal import Signal


class CrossEntropy(Loss):
    """-log q(token). Zero where the student gives the token all its mass."""

    needs: Signal = "text"

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats."""
        return -log_q_NV.gather(-1, target.tokens_N[:, None]).squeeze(-1)

    def value_and_gradient(self, log_q_NV: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Gradient: q - 1 at the token, q elsewhere."""
        places_N1 = target.tokens_N[:, None]
        minus_N1 = torch.full_like(places_N1, -1, dtype=log_q_NV.dtype)
        return self.value(log_q_NV, target), log_q_NV.exp().scatter_add_(-1, places_N1, minus_N1)

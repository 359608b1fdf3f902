"""Cross-entropy against the teacher's token: sequence-level distillation (Kim & Rush 2016, eq. 7, with one sampled answer)."""

from __future__ import annotations

from torch import Tensor

from stillhouse.losses.base import Loss, Target
from stillhouse.signal import Signal


class CrossEntropy(Loss):
    """-log p_student(token). Zero where the student gives the token all its mass."""

    needs: Signal = "text"

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats."""
        return -log_q_NV.gather(-1, target.tokens_N[:, None]).squeeze(-1)

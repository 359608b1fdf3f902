"""Cross-entropy against the teacher's token: sequence-level distillation (Kim & Rush 2016, eq. 7, with one sampled answer)."""

from __future__ import annotations

from torch import Tensor, nn

from stillhouse.losses.base import Target, at_least_float32
from stillhouse.signal import Signal


class CrossEntropy:
    """-log p_student(token). Zero where the student gives the token all its mass."""

    needs: Signal = "text"

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature

    def __call__(self, logits_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats."""
        scaled_NV = at_least_float32(logits_NV) / self.temperature
        return nn.functional.cross_entropy(scaled_NV, target.tokens_N, reduction="none")

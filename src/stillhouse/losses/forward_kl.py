"""Forward Kullback-Leibler divergence, teacher to student (Hinton et al. 2015; the teacher's entropy included)."""

from __future__ import annotations

from torch import Tensor

from stillhouse.losses.base import Target, at_least_float32
from stillhouse.signal import Signal


class ForwardKL:
    """sum_v p_teacher(v) (log p_teacher(v) - log p_student(v)), both at temperature T. Mean-seeking; zero at equality."""

    needs: Signal = "logits"

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature

    def __call__(self, logits_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats. A token that the teacher rules out (-inf) adds nothing. Raises ValueError without teacher logits."""
        if target.logits_NV is None:
            raise ValueError("ForwardKL needs the teacher's logits, and the target has none.")
        student_NV = (at_least_float32(logits_NV) / self.temperature).log_softmax(dim=-1)
        teacher_NV = (at_least_float32(target.logits_NV) / self.temperature).log_softmax(dim=-1)
        mass_NV = teacher_NV.exp()
        return (mass_NV * (teacher_NV - student_NV)).masked_fill(mass_NV == 0, 0.0).sum(dim=-1)

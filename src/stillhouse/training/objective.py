"""What is minimised, and the one division: weighted sums over supervised rows / the whole window's weight.

The window is every micro-batch of an optimizer step (on every process), so how it is cut changes nothing, and an epoch's smaller
last window counts each of its rows as much as itself, not as a full one would.

Shapes: N supervised rows of a micro-batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stillhouse.losses.base import Loss
from stillhouse.losses.fused import weighted_sums
from stillhouse.students.base import Trainable
from stillhouse.tensors import Batch
from stillhouse.training.teachers.base import Teaching


@dataclass(frozen=True)
class Window:
    """What an optimizer step's sums are divided by."""

    rows: float
    """Supervised rows, each by its example's weight."""
    examples: float
    """Examples, for terms that count once an example."""

    @classmethod
    def of(cls, batches: Sequence[Batch]) -> Window:
        """The window that these micro-batches make."""
        return cls(float(sum(batch.weight for batch in batches)), float(sum(len(batch.examples) for batch in batches)))


class Objective:
    """Black-box: cross-entropy. White-box: share * T^2 * D(teacher, student, at T) + (1 - share) * cross-entropy.

    T^2, because the gradient of the divergence shrinks with 1/T^2 (Hinton et al. 2015, section 2.1): so `share` means the same
    at every temperature.
    """

    def __init__(
        self,
        teaching: Teaching | None = None,
        loss: Loss | None = None,
        *,
        temperature: float = 1.0,
        share: float = 0.0,
        scale: float | None = None,
    ) -> None:
        self.teaching = teaching
        self.loss = loss
        self._temperature = temperature
        self._share = share
        self._scale = temperature**2 if scale is None else scale

    def to(self, device: torch.device) -> Objective:
        """Itself, with the teacher on `device`."""
        if self.teaching is not None:
            self.teaching.to(device)
        return self

    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained beside the student and left behind: the features' projections."""
        return []

    def begin(self, step: int, steps: int) -> None:
        """Told before each step where the run is: temperatures, stages and interpolations follow it."""

    def after_step(self, batches: Sequence[Batch], metrics: Mapping[str, float]) -> Mapping[str, float]:
        """Told when the weights have moved, with the step's metrics; returns metrics of its own."""
        return {}

    def state(self) -> Mapping[str, Tensor]:
        """What changes as it goes (a teacher's average, an interpolation), for the checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""

    def losses(self, student: Trainable, batch: Batch, window: Window) -> dict[str, Tensor]:
        """The batch's part of the window's mean: `loss` (with its graph) and its parts (without). Micro-batches add up."""
        output = student.output(batch)
        weight_N = batch.weights_N / window.rows
        if self.loss is None or self.teaching is None:
            sums = weighted_sums(output.hidden_NH, output.head, batch.targets_N, ce_N=weight_N)
            return {"loss": sums.total}
        sums = weighted_sums(
            output.hidden_NH,
            output.head,
            batch.targets_N,
            ce_N=weight_N * (1 - self._share),
            kd_N=weight_N * (self._share * self._scale),
            loss=self.loss,
            source=self.teaching.source(batch),
            temperature_N=torch.full_like(weight_N, self._temperature),
        )
        parts = {"kd_loss": sums.divergence_N * self._scale, "ce_loss": sums.cross_entropy_N}
        return {"loss": sums.total, **{name: (part_N * weight_N).sum() for name, part_N in parts.items()}}

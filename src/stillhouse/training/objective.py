"""What is minimised, and the one division: weighted sums over supervised rows / the whole window's weight.

The window is every micro-batch of an optimizer step (on every process), so how it is cut changes nothing, and an epoch's smaller
last window counts each of its rows as much as itself, not as a full one would.

Shapes: B examples, N supervised rows of a micro-batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stillhouse.losses.base import Loss
from stillhouse.losses.fused import weighted_sums
from stillhouse.losses.sources import Source
from stillhouse.method import WhiteBox
from stillhouse.students.base import Trainable
from stillhouse.tensors import Batch, Output
from stillhouse.training.features import FeatureTerms
from stillhouse.training.squares import squared_sums
from stillhouse.training.teachers.base import Teaching
from stillhouse.training.temperature import Temperature

BEHAVIOUR = "behaviour"
"""In `extra` of rows that the student said itself: the log-probability that each token was drawn with."""
ACCURACY = "token_accuracy"
"""Share of the rows' weight where the given token (or label) is the student's likeliest."""


@dataclass(frozen=True)
class Window:
    """What an optimizer step's sums are divided by."""

    rows: float
    """Supervised rows, each by its example's weight."""
    examples: float
    """Examples, each by its weight, for terms that count once an example."""

    @classmethod
    def of(cls, batches: Sequence[Batch]) -> Window:
        """The window that these micro-batches make."""
        return cls(float(sum(batch.weight for batch in batches)), float(sum(batch.weights_B.sum() for batch in batches)))


class Objective:
    """Cross-entropy on the teacher's text; the others add to it, or replace it."""

    def to(self, device: torch.device) -> Objective:
        """Itself, with the teacher on `device`."""
        return self

    def parameters(self) -> list[nn.Parameter]:
        """What is trained beside the student and left behind: the features' projections."""
        return []

    @property
    def within_batch(self) -> bool:
        """Whether a micro-batch's examples are compared with each other, so that its size is part of what is minimised."""
        return False

    def begin(self, step: int, steps: int) -> None:
        """Told before each step where the run is: temperatures, stages and interpolations follow it."""

    def after_step(self, batches: Sequence[Batch], metrics: Mapping[str, float]) -> Mapping[str, float]:
        """Told when the weights have moved, with the step's metrics; returns metrics of its own."""
        return {}

    def state(self) -> Mapping[str, Tensor]:
        """What changes as it goes beside the parameters (a teacher's average, an interpolation), for the checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""

    def losses(self, student: Trainable, batch: Batch, window: Window) -> dict[str, Tensor]:
        """The batch's part of the window's mean: `loss` (with its graph) and its parts (without). Micro-batches add up."""
        output = student.output(batch)
        if batch.targets_N.is_floating_point():
            return {"loss": squared_sums(output, batch, ce_N=batch.weights_N / window.rows).total}
        weight_N = batch.weights_N / window.rows
        sums = weighted_sums(output.hidden_NH, output.head, batch.targets_N, ce_N=weight_N)
        return {"loss": sums.total, ACCURACY: (sums.correct_N * weight_N).sum()}


class Distillation(Objective):
    """share * T^2 * D(teacher, student, at T) + (1 - share) * cross-entropy + the features' terms.

    T^2, because the gradient of the divergence shrinks with 1/T^2 (Hinton et al. 2015, section 2.1): so `share` means the same
    at every temperature. Features are means over examples, the others over rows.
    """

    def __init__(self, method: WhiteBox, teaching: Teaching, loss: Loss | None, features: FeatureTerms | None = None) -> None:
        self.teaching = teaching
        self.loss = loss
        self._features = features
        self._share = method.weight if loss is not None else 0.0
        self._ce_share = 1 - method.weight
        self._squared = method.scale == "t2"
        self._temperature = Temperature(method)
        self._progress = 0.0

    def to(self, device: torch.device) -> Distillation:
        self.teaching.to(device)
        if self._features is not None:
            self._features.to(device)
        return self

    def parameters(self) -> list[nn.Parameter]:
        return [] if self._features is None else list(self._features.parameters())

    @property
    def within_batch(self) -> bool:
        return self._features is not None and self._features.within_batch

    def begin(self, step: int, steps: int) -> None:
        self.follow(step / max(steps - 1, 1))

    def follow(self, progress: float) -> None:
        """Where the run is, 0 to 1: what temperatures follow."""
        self._progress = progress

    def after_step(self, batches: Sequence[Batch], metrics: Mapping[str, float]) -> Mapping[str, float]:
        if self.loss is not None:
            self.loss.advance(self._progress, metrics.get("train/divergence", 0.0))
        changed = {} if self.loss is None else {f"train/{name}": value for name, value in self.loss.state().items()}
        return {**changed, **self.teaching.after_step(list(batches), self._progress)}

    def state(self) -> Mapping[str, Tensor]:
        of_loss = {} if self.loss is None else self.loss.state()
        return {
            **{f"teaching/{name}": tensor for name, tensor in self.teaching.state().items()},
            **{f"loss/{name}": torch.tensor(value, dtype=torch.float64) for name, value in of_loss.items()},
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.teaching.load_state(part_of(state, "teaching/"))
        if self.loss is not None:
            self.loss.load_state({name: value.item() for name, value in part_of(state, "loss/").items()})

    def losses(self, student: Trainable, batch: Batch, window: Window) -> dict[str, Tensor]:
        if self._features is None:
            source = None if self.loss is None else self.teaching.source(batch)
            return self._of_rows(student.output(batch), batch, window, source)
        wanted = self._features.wanted
        output = student.output(batch, wanted=wanted)
        source, theirs = self.teaching.both(batch, wanted)
        assert output.states is not None
        found = self._of_rows(output, batch, window, source)
        share_B = batch.weights_B / window.examples
        terms = {name: (term_B * share_B).sum() for name, term_B in self._features(output.states, theirs).items()}
        parts = {name: term.detach() for name, term in terms.items()}
        return {**found, **parts, "loss": found["loss"] + sum(terms.values())}

    def _of_rows(self, output: Output, batch: Batch, window: Window, source: Source | None) -> dict[str, Tensor]:
        """Rows that the student said itself have no answer to be right about: there the divergence is all."""
        weight_N = batch.weights_N / window.rows
        share, ce_share = (1.0, 0.0) if BEHAVIOUR in batch.extra else (self._share, self._ce_share)
        ce_N = weight_N * ce_share
        if self.loss is None or source is None:
            sums = weighted_sums(output.hidden_NH, output.head, batch.targets_N, ce_N=ce_N)
            parts = {"ce_loss": sums.cross_entropy_N, ACCURACY: sums.correct_N}
            return {"loss": sums.total, **{name: (part_N * weight_N).sum() for name, part_N in parts.items()}}
        if batch.targets_N.is_floating_point():
            sums = squared_sums(output, batch, ce_N=ce_N, kd_N=weight_N * share, source=source)
            scaled_N = sums.divergence_N
        else:
            temperature_N = self._temperature.of_rows(self._progress, source, batch.targets_N)
            scale_N = temperature_N.square() if self._squared else torch.ones_like(temperature_N)
            sums = weighted_sums(
                output.hidden_NH,
                output.head,
                batch.targets_N,
                ce_N=ce_N,
                kd_N=weight_N * share * scale_N,
                loss=self.loss,
                source=source,
                temperature_N=temperature_N,
            )
            scaled_N = sums.divergence_N * scale_N
        parts = {"kd_loss": scaled_N, "ce_loss": sums.cross_entropy_N, "divergence": sums.divergence_N}
        if BEHAVIOUR not in batch.extra and not batch.targets_N.is_floating_point():
            parts[ACCURACY] = sums.correct_N
        return {"loss": sums.total, **{name: (part_N * weight_N).sum() for name, part_N in parts.items()}}


def part_of(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}

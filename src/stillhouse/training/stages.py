"""A run in stages, each with an objective of its own: features first, then logits, then the task; or layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from stillhouse.students.base import Trainable
from stillhouse.tensors import Batch
from stillhouse.training.objective import Objective, Window, part_of


class Stages(Objective):
    """One objective after the other, each for its share of the steps."""

    def __init__(self, stages: Sequence[tuple[float, Objective]]) -> None:
        self._stages = [objective for _, objective in stages]
        self._ends = [sum(share for share, _ in stages[: i + 1]) for i in range(len(stages))]
        self._current = 0

    @property
    def current(self) -> Objective:
        """The stage the run is in."""
        return self._stages[self._current]

    def to(self, device: torch.device) -> Stages:
        for stage in self._stages:
            stage.to(device)
        return self

    def parameters(self) -> list[nn.Parameter]:
        """Those that stages share, once."""
        return list({id(parameter): parameter for stage in self._stages for parameter in stage.parameters()}.values())

    @property
    def within_batch(self) -> bool:
        return any(stage.within_batch for stage in self._stages)

    def begin(self, step: int, steps: int) -> None:
        self._current = stage_at(self._ends, step, steps)
        first = 0 if self._current == 0 else round(self._ends[self._current - 1] * steps)
        self.current.begin(step - first, round(self._ends[self._current] * steps) - first)

    def after_step(self, batches: Sequence[Batch], metrics: Mapping[str, float]) -> Mapping[str, float]:
        return {"train/stage": float(self._current), **self.current.after_step(batches, metrics)}

    def state(self) -> Mapping[str, Tensor]:
        """What stages share is there once for each: a file of tensors may not hold one under two names, so copies."""
        return {f"{i}/{name}": tensor.clone() for i, stage in enumerate(self._stages) for name, tensor in stage.state().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        for i, stage in enumerate(self._stages):
            stage.load_state(part_of(state, f"{i}/"))

    def losses(self, student: Trainable, batch: Batch, window: Window) -> dict[str, Tensor]:
        return self.current.losses(student, batch, window)


def stage_at(ends: Sequence[float], step: int, steps: int) -> int:
    """Which stage step `step` (from 0) is in; `ends` are the stages' ends as shares of the run."""
    return next((i for i, end in enumerate(ends) if step < round(end * steps)), len(ends) - 1)

"""The student as its own teacher: a running average of its weights (Tarvainen & Valpola 2017, mean teacher)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stillhouse.students.base import Trainable
from stillhouse.tensors import Batch
from stillhouse.training.teachers.live import LiveTeacher


class AverageTeacher(LiveTeacher):
    """average = decay * average + (1 - decay) * student, after every step; decay min(decay, (1 + t) / (10 + t)) at step t, so
    that the first steps are forgotten. In its first step it is the student, whatever stages came before."""

    def __init__(self, student: Trainable, *, decay: float) -> None:
        self._student = student
        self._decay = decay
        self._steps = 0
        teacher = copy.copy(student)
        teacher.network = copy.deepcopy(student.network)
        super().__init__(teacher)

    def _own(self, batch: Batch) -> Batch:
        if self._steps == 0:
            self._follow(0.0)
        return super()._own(batch)

    def after_step(self, batches: Sequence[Batch], progress: float) -> Mapping[str, float]:
        self._steps += 1
        self._follow(min(self._decay, (1 + self._steps) / (10 + self._steps)))
        return {}

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        pairs = zip(self._teacher.network.parameters(), self._student.network.parameters(), strict=True)
        moving = [(ours, theirs.detach()) for ours, theirs in pairs if theirs.requires_grad]
        torch._foreach_lerp_([ours for ours, _ in moving], [theirs for _, theirs in moving], 1 - decay)

    def state(self) -> Mapping[str, Tensor]:
        weights = {f"weights.{name}": parameter.detach() for name, parameter in self._teacher.network.named_parameters()}
        return {**weights, "steps": torch.tensor(self._steps)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._steps = int(state["steps"])
        with torch.no_grad():
            for name, parameter in self._teacher.network.named_parameters():
                parameter.copy_(state[f"weights.{name}"])

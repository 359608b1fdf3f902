"""Several teachers as one: the weighted mean of their distributions, with weights for each example.

Shapes: B examples, N supervised rows, M teachers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stillhouse.errors import TrainingError
from stillhouse.losses.sources import Mixture, Source
from stillhouse.recipe import Member
from stillhouse.tensors import Batch
from stillhouse.training.reading import surprise
from stillhouse.training.teachers.base import Teaching


class SeveralTeachers(Teaching):
    """`combine`: weight (the recipe's), task (only those that have the example's task), confidence (each example by how well a
    teacher explains its answer: Zhang et al. 2022, CA-MKD, eq. 3)."""

    def __init__(self, members: Sequence[Member], teachers: Sequence[Teaching], combine: str) -> None:
        self._members = members
        self._teachers = list(teachers)
        self._combine = combine

    def source(self, batch: Batch) -> Source:
        sources: list[Source] = [teacher.source(batch) for teacher in self._teachers]
        weights_BM = torch.tensor([member.weight for member in self._members]).expand(len(batch.examples), -1)
        if self._combine == "task":
            weights_BM = weights_BM * self._of_tasks(batch)
        elif self._combine == "confidence":
            weights_BM = weights_BM * self._of_confidence(batch, sources)
        weights_BM = weights_BM.to(batch.weights_N.device)
        return Mixture(tuple(sources), (weights_BM / weights_BM.sum(dim=-1, keepdim=True))[batch.owners_N])

    def to(self, device: torch.device) -> SeveralTeachers:
        for teacher in self._teachers:
            teacher.to(device)
        return self

    def _of_tasks(self, batch: Batch) -> Tensor:
        """1 where a teacher has the example's task, or has no tasks named. Raises TrainingError for one that nobody teaches."""
        has_BM = torch.tensor(
            [[float(not member.tasks or task in member.tasks) for member in self._members] for task in batch.tasks]
        )
        for example, task, teachers in zip(batch.examples, batch.tasks, has_BM.sum(dim=-1).tolist(), strict=True):
            if not teachers:
                known = sorted({name for member in self._members for name in member.tasks})
                raise TrainingError(
                    f"The example {example} is of the task '{task}', and no teacher has it. They have: {', '.join(known)}. "
                    "Name it in the tasks of a [[teacher.members]], or set the examples' metadata `task`."
                )
        return has_BM

    def _of_confidence(self, batch: Batch, sources: Sequence[Source]) -> Tensor:
        """w_m = (1 - exp(L_m) / sum_j exp(L_j)) / (M - 1), L_m the teacher's mean surprise at the example's own answer."""
        if len(sources) == 1:
            return torch.ones(len(batch.examples), 1)
        rows_B = torch.zeros(len(batch.examples), device=batch.owners_N.device).index_add_(
            0, batch.owners_N, torch.ones_like(batch.weights_N)
        )
        mean_MB = torch.stack(
            [
                torch.zeros_like(rows_B).index_add_(0, batch.owners_N, surprise(source, batch.targets_N)) / rows_B.clamp(min=1)
                for source in sources
            ]
        )
        return ((1 - mean_MB.softmax(dim=0)) / (len(sources) - 1)).T.cpu()

"""A teacher whose weights run beside the student's, on the same batches."""

from __future__ import annotations

import torch

from stillhouse.losses.sources import Projected, Source
from stillhouse.signal import GIVES
from stillhouse.students.base import Trainable
from stillhouse.tensors import Batch, States, Wanted
from stillhouse.training.teachers.base import Teaching


class LiveTeacher(Teaching):
    """Reads the student's own batches, so both must share the tokenizer and what a batch looks like."""

    gives = GIVES["live"]

    def __init__(self, teacher: Trainable, *, frozen: bool = True) -> None:
        """Not `frozen`: its weights are trained elsewhere, and are only read here."""
        self._teacher = teacher
        if frozen:
            teacher.network.requires_grad_(False)
            teacher.network.eval()

    def source(self, batch: Batch) -> Source:
        with torch.no_grad():
            output = self._teacher.output(batch)
        return Projected(output.hidden_NH, output.head)

    def states(self, batch: Batch, wanted: Wanted) -> States:
        with torch.no_grad():
            output = self._teacher.output(batch, wanted=wanted)
        assert output.states is not None
        return output.states

    def to(self, device: torch.device) -> LiveTeacher:
        self._teacher.network.to(device)
        return self

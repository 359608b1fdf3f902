"""A teacher whose weights run beside the student's, on the same examples."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from stillhouse.losses.sources import Projected, Source
from stillhouse.students.base import Trainable
from stillhouse.tensors import Batch, Encoded, Head, States, Wanted
from stillhouse.training.teachers.base import Teaching, asked


class LiveTeacher(Teaching):
    """Reads the student's own batches where both turn a text into the same numbers, and its own otherwise."""

    def __init__(
        self,
        teacher: Trainable,
        *,
        frozen: bool = True,
        order: tuple[int, ...] | None = None,
        encoded: Mapping[str, Encoded] | None = None,
    ) -> None:
        """Not `frozen`: its weights are trained elsewhere, and are only read here.

        `order`: which of its scores are the student's, for labels that both know in another order. `encoded`: the examples as it
        reads them itself, by id, for a classifier with a tokenizer of its own.
        """
        self._teacher = teacher
        self._order = order
        self._encoded = encoded
        if frozen:
            teacher.network.requires_grad_(False)
            teacher.network.eval()

    def source(self, batch: Batch) -> Source:
        output = asked(self._teacher, self._own(batch))
        return Projected(output.hidden_NH, self._head(output.head))

    def states(self, batch: Batch, wanted: Wanted) -> States:
        output = asked(self._teacher, self._own(batch), wanted)
        assert output.states is not None
        return output.states

    def both(self, batch: Batch, wanted: Wanted) -> tuple[Source, States]:
        output = asked(self._teacher, self._own(batch), wanted)
        assert output.states is not None
        return Projected(output.hidden_NH, self._head(output.head)), output.states

    def to(self, device: torch.device) -> LiveTeacher:
        self._teacher.network.to(device)
        return self

    def _own(self, batch: Batch) -> Batch:
        if self._encoded is None:
            return batch
        return self._teacher.collate([self._encoded[name] for name in batch.examples]).to(batch.targets_N.device)

    def _head(self, head: Head) -> Head:
        return head if self._order is None else head.picked(self._order)

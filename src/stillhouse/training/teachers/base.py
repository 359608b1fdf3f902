"""What a teacher is to the trainer: for every micro-batch the other side of the losses, whatever it comes from.

Live weights, a cache on disk, log-probabilities of an API, the student's own average, a peer that learns too, or several of
them as one: each is a `Teaching`. What it holds and changes it gives to the checkpoint, so that a resumed run is the same run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from stillhouse.losses.sources import Source
from stillhouse.students.base import Trainable
from stillhouse.tensors import Batch, Output, States, Wanted


def asked(teacher: Trainable, batch: Batch, wanted: Wanted | None = None) -> Output:
    """What its weights say, without a graph, over its tokens alone: what the head has for padding takes no probability."""
    with torch.no_grad():
        output = teacher.output(batch, wanted=wanted)
    return replace(output, head=output.head.first(min(output.head.size, teacher.vocabulary_size)))


class Teaching(ABC):
    """The teacher's side of a run."""

    @abstractmethod
    def source(self, batch: Batch) -> Source:
        """What it says at the batch's supervised rows. No graph."""

    def states(self, batch: Batch, wanted: Wanted) -> States:
        """Its inner states. Only for those that give `states`."""
        raise NotImplementedError(f"{type(self).__name__} gives no inner states")

    def both(self, batch: Batch, wanted: Wanted) -> tuple[Source, States]:
        """Both at once, for those that run a network: one pass."""
        return self.source(batch), self.states(batch, wanted)

    def to(self, device: torch.device) -> Teaching:
        """Itself, on `device`."""
        return self

    def after_step(self, batches: list[Batch], progress: float) -> Mapping[str, float]:
        """Told when the student's weights have moved: averages and peers move too. Returns metrics of its own."""
        return {}

    def state(self) -> Mapping[str, Tensor]:
        """What changes while it teaches, for the checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Take back what `state` gave."""

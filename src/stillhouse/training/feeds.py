"""What the trainer is fed, window by window: from the dataset, or (`rollouts.py`) from the student's own answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from stillhouse.tensors import Encoded


class Feed(Protocol):
    """A window of examples for each step."""

    @property
    def steps_per_epoch(self) -> int:
        """Windows that make an epoch of the dataset."""

    def window(self, step: int) -> list[list[Encoded]]:
        """The examples of step `step` (from 0), micro-batch by micro-batch."""

    def state(self) -> Mapping[str, Tensor]:
        """What cannot be computed again from the step number, for the checkpoint."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""


class Ordered(Protocol):
    """Which examples each step takes: `order.py`, or `curriculum.py` before it."""

    @property
    def steps_per_epoch(self) -> int:
        """Windows that make an epoch of the dataset."""

    def micro_batches(self, step: int) -> list[list[int]]:
        """Indices of the examples of step `step` (from 0), micro-batch by micro-batch."""


class DatasetFeed:
    """The dataset's examples in a fixed random order."""

    def __init__(self, rows: Sequence[Encoded], order: Ordered) -> None:
        self._rows = rows
        self._order = order

    @property
    def steps_per_epoch(self) -> int:
        return self._order.steps_per_epoch

    def window(self, step: int) -> list[list[Encoded]]:
        return [[self._rows[i] for i in part] for part in self._order.micro_batches(step)]

    def state(self) -> Mapping[str, Tensor]:
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        pass

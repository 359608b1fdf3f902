"""One optimizer step: forward and backward over the window's micro-batches, one sum over the processes, one move of the weights.

A step that is not finite stops before the weights move, and names its examples. A step for which memory runs out is done again in
smaller micro-batches, with the same random numbers: the window, and so what is minimised, stays what it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stillhouse.errors import TrainingError
from stillhouse.students.base import Trainable
from stillhouse.tensors import Batch, Encoded
from stillhouse.training.distributed import Ranks
from stillhouse.training.objective import Objective, Window

_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "could not allocate")
"""How torch's CPU allocator and its backends say it, in a plain RuntimeError."""


class NotFiniteError(Exception):
    """A loss or gradient that is no number; the weights were left alone."""

    def __init__(self, what: str, examples: Sequence[str]) -> None:
        super().__init__(what)
        self.what = what
        self.examples = examples


class Taken(NamedTuple):
    """What a step was."""

    batches: list[Batch]
    """This process's."""
    metrics: dict[str, float]
    """The window's: its means, and the gradient's norm."""
    tokens: float
    """The window's, padding excluded."""


@dataclass
class Stepper:
    """Takes steps. `parameters`: all that the optimizer moves. `limit`: the most examples a micro-batch has, once memory ran
    out; it only falls."""

    student: Trainable
    objective: Objective
    optimizer: torch.optim.Optimizer
    parameters: Sequence[nn.Parameter]
    ranks: Ranks
    collate: Callable[[Sequence[Encoded]], Batch]
    autocast: Callable[[], AbstractContextManager[Any]]
    clip: float | None
    say: Callable[[str], None]
    limit: int | None = None

    def take(self, parts: Sequence[Sequence[Encoded]], seed: Callable[[], None]) -> Taken:
        """One step on the window `parts`, of which this process does its share. `seed` starts its random numbers (again).

        Raises NotFiniteError before the weights move, TrainingError where nothing counts or where a single example needs more
        memory than there is.
        """
        mine = self.ranks.share(parts)
        batches = self._batches(mine)
        window, tokens = self._totals(batches, parts)
        while (done := self._backward(batches, window, seed)) is None:
            batches = self._smaller(mine)
        self.ranks.sum_gradients(self.parameters)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip or math.inf)
        metrics = self._finite(*done, norm) if batches else self._finite(*self._nothing(parts, window), norm)
        self.optimizer.step()
        return Taken(done[0], metrics, tokens)

    def _batches(self, parts: Sequence[Sequence[Encoded]]) -> list[Batch]:
        return [self.collate(rows) for rows in cut(parts, self.limit)]

    def _totals(self, batches: Sequence[Batch], parts: Sequence[Sequence[Encoded]]) -> tuple[Window, float]:
        """The whole window's weights and its tokens, counted where the batches still lie: a GPU need not be waited for."""
        mine = Window.of(batches)
        rows, examples, tokens = self.ranks.sum([mine.rows, mine.examples, float(sum(batch.real_tokens for batch in batches))])
        if not any(row.counts for part in parts for row in part):
            named = ", ".join(row.example for part in parts for row in part)
            raise TrainingError(f"No example of this step has a weight above 0: {named}. Remove them from the dataset.")
        return Window(rows or 1.0, examples or 1.0), tokens  # no row at all: answers of the student's own that had no room left

    def _backward(self, batches: Sequence[Batch], window: Window, seed: Callable[[], None]) -> _Done | None:
        """The gradients of this process's part; None where memory ran out."""
        seed()
        self.optimizer.zero_grad(set_to_none=True)
        done = _Done([], [])
        try:
            for batch in batches:
                moved = batch.to(self.ranks.device)
                with self.autocast():
                    losses = self.objective.losses(self.student, moved, window)
                torch.autograd.backward(losses["loss"])
                done.batches.append(moved)
                done.losses.append({name: value.detach() for name, value in losses.items()})
        except (RuntimeError, MemoryError) as exc:
            if not is_out_of_memory(exc):
                raise
            return None
        return done

    def _smaller(self, parts: Sequence[Sequence[Encoded]]) -> list[Batch]:
        """Micro-batches of half the size. Raises TrainingError where they are of one example already."""
        self.optimizer.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        largest = max(len(part) for part in cut(parts, self.limit))
        if largest == 1:
            longest = max((row for part in parts for row in part), key=lambda row: row.length)
            raise TrainingError(
                f"Memory runs out with a single example in a micro-batch; the longest of this step is {longest.example}, of "
                f'{longest.length} tokens. Set [training] gradient_checkpointing = true or precision = "bfloat16", take a '
                "smaller student, or remove long examples. The weights were left as they were."
            )
        self.limit = -(-largest // 2)
        self.say(
            f"memory ran out with micro-batches of {largest}: from now on they are of {self.limit} at most, "
            "and a step has as many examples as before"
            + ("; features that compare texts with each other compare fewer now" if self.objective.within_batch else "")
        )
        return self._batches(parts)

    def _nothing(self, parts: Sequence[Sequence[Encoded]], window: Window) -> _Done:
        """What a process reports whose share is empty: the names that the others report, all of them 0."""
        batch = self.collate(parts[0][:1]).to(self.ranks.device)
        with torch.no_grad(), self.autocast():
            losses = self.objective.losses(self.student, batch, window)
        return _Done([batch], [{name: torch.zeros_like(value) for name, value in losses.items()}])

    def _finite(self, batches: Sequence[Batch], losses: Sequence[Mapping[str, Tensor]], norm: Tensor) -> dict[str, float]:
        """The step's metrics. Raises NotFiniteError where one of them is NaN or infinite, in every process alike."""
        names = list(losses[0])
        *numbers, grad_norm = torch.stack([*(part[name].float() for part in losses for name in names), norm.float()]).tolist()
        by_batch = [numbers[start : start + len(names)] for start in range(0, len(numbers), len(names))]  # after the one wait
        sums = self.ranks.sum([sum(values) for values in zip(*by_batch, strict=True)])
        if all(map(math.isfinite, [*sums, grad_norm])):
            return {**{f"train/{name}": value for name, value in zip(names, sums, strict=True)}, "train/grad_norm": grad_norm}
        self.optimizer.zero_grad(set_to_none=True)
        bad = [batch for batch, values in zip(batches, by_batch, strict=True) if not all(map(math.isfinite, values))]
        if named := self._named(bad):
            raise NotFiniteError("loss", named)
        raise NotFiniteError("gradient", self._named(batches))

    def _named(self, batches: Sequence[Batch]) -> list[str]:
        """The examples in these batches, in those of all processes."""
        said = self.ranks.gather("\n".join(example for batch in batches for example in batch.examples))
        return [example for text in said for example in text.split("\n") if example]


class _Done(NamedTuple):
    """The micro-batches that went through, and what was said of each."""

    batches: list[Batch]
    losses: list[dict[str, Tensor]]


def cut(parts: Sequence[Sequence[Encoded]], limit: int | None) -> list[Sequence[Encoded]]:
    """The parts, each in pieces of at most `limit`; never an empty one."""
    sizes = [limit or max(len(part), 1) for part in parts]
    return [part[start : start + size] for part, size in zip(parts, sizes, strict=True) for start in range(0, len(part), size)]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, of the GPU or of the machine."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OUT_OF_MEMORY)

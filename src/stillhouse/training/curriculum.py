"""Easy examples first: at each step a window is drawn from the easiest share of the dataset, which grows until it is all of it.

While it grows there are no epochs: each step draws anew, so an easy example may come several times before a hard one comes once,
and `epochs` in a recipe counts steps alone. Once all are drawn from, the epochs of `order.py` begin. What a step draws follows
from (seed, step), so a resumed run needs no replay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError
from stillhouse.recipe import Curriculum
from stillhouse.tensors import Encoded
from stillhouse.training.order import POOL, Order

_STREAM = 2**63
"""Keeps these random numbers apart from those of epochs, which have the same seed and small numbers."""


def competence(step: int, until: int, start: float) -> float:
    """The share of the examples, easiest first, that step `step` draws from: sqrt(start^2 + (1 - start^2) step / until), up to 1.

    Platanias et al. 2019, equation 4.
    """
    return 1.0 if step >= until else min(1.0, math.sqrt(start**2 + (1 - start**2) * step / until))


def difficulties(examples: Sequence[Example], rows: Sequence[Encoded], by: str) -> list[float]:
    """How hard each row is: its tokens, or a number in its example's metadata. Raises RecipeError that names one without it."""
    if by == "length":
        return [float(row.length) for row in rows]
    known = {example.id: example for example in examples}
    return [_number(known[row.example], by) for row in rows]


def _number(example: Example, by: str) -> float:
    text = example.metadata.get(by)
    try:
        number = float("nan" if text is None else text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RecipeError(
            f'[training.curriculum] by = "{by}": the example {example.id} has {"none" if text is None else repr(text)} in its '
            'metadata, not a number. Give every example one, or set by = "length".'
        )
    return number


class EasyFirst:
    """An order whose first steps draw from the easiest examples; afterwards it is `order`'s."""

    def __init__(self, order: Order, hardness: Sequence[float], curriculum: Curriculum, steps: int) -> None:
        """`hardness` of each example, `steps` of the whole run."""
        self._order = order
        self._easiest = np.argsort(np.asarray(hardness), kind="stable")
        self._start = curriculum.start
        self._until = round(curriculum.until * steps)

    @property
    def steps_per_epoch(self) -> int:
        return self._order.steps_per_epoch

    def micro_batches(self, step: int) -> list[list[int]]:
        """Indices of the examples of step `step` (from 0), micro-batch by micro-batch."""
        if step >= self._until:
            return self._order.micro_batches(step - self._until)
        return self._order.cut(self._drawn(step))

    def _drawn(self, step: int) -> list[int]:
        """A window of distinct examples; of like length where batches are, and still each as likely as any other: several windows
        are drawn, sorted by length, and one of them is taken."""
        order = self._order
        random = np.random.Generator(np.random.Philox(key=np.array([order.seed % 2**64, _STREAM + step], dtype=np.uint64)))
        known = max(1, round(competence(step, self._until, self._start) * len(self._easiest)))
        windows = min(POOL, known // order.window) if order.bucket else 1
        drawn = random.permutation(self._easiest[:known])[: max(windows, 1) * order.window]
        if windows <= 1:
            return [int(i) for i in drawn]
        by_length = drawn[np.argsort(order.lengths[drawn], kind="stable")]
        first = int(random.integers(windows)) * order.window
        return [int(i) for i in by_length[first : first + order.window]]

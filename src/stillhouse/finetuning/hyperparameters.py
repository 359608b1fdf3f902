"""`"auto"` made numbers: how many epochs and how large a batch by the number of examples, the rate by the network's size.

Epochs follow the rule that OpenAI's own cookbook gives for its API; batch and rate are ours.
"""

from __future__ import annotations

import math

from stillhouse.finetuning.bases import Base
from stillhouse.finetuning.request import Hyperparameters
from stillhouse.records import Record

EPOCHS, FEWEST, MOST = 3, 100, 25_000
"""Of `EPOCHS` epochs there are more or fewer, so that between FEWEST and MOST examples are seen; never more than MAX_EPOCHS."""
MAX_EPOCHS = 25
LARGEST_BATCH = 32
REFERENCE_RATE, REFERENCE_SIZE = 1e-3, 1e6
"""The rate at so many parameters; it falls with the root of their number."""
HIGHEST_RATE, LOWEST_RATE = 3e-3, 5e-6


class Resolved(Record):
    """What a job is trained with."""

    batch_size: int
    learning_rate_multiplier: float
    n_epochs: int
    base_learning_rate: float
    """What the multiplier multiplies."""

    @property
    def learning_rate(self) -> float:
        return self.base_learning_rate * self.learning_rate_multiplier


def resolve(given: Hyperparameters, base: Base, examples: int, *, adapted: bool = False, gentle: bool = False) -> Resolved:
    """`adapted`: low-rank adapters are trained, which want ten times the rate; `gentle`: DPO, which wants a tenth of it."""
    rate = base_rate(base.parameters) * (10 if adapted else 1) * (0.1 if gentle else 1)
    multiplier, epochs = given.learning_rate_multiplier, given.n_epochs
    return Resolved(
        batch_size=auto_batch(examples) if given.batch_size == "auto" else given.batch_size,
        learning_rate_multiplier=1.0 if multiplier == "auto" else multiplier,
        n_epochs=auto_epochs(examples) if epochs == "auto" else epochs,
        base_learning_rate=rate,
    )


def base_rate(parameters: int) -> float:
    """1e-3 for a million parameters, 1e-4 for a hundred million, 1e-5 for ten thousand million."""
    return min(HIGHEST_RATE, max(LOWEST_RATE, REFERENCE_RATE * math.sqrt(REFERENCE_SIZE / max(parameters, 1))))


def auto_batch(examples: int) -> int:
    """A sixteenth of the examples, 1 at least and 32 at most."""
    return min(LARGEST_BATCH, max(1, examples // 16))


def auto_epochs(examples: int) -> int:
    """3; more where there are under 34 examples, fewer where there are over 8,333."""
    if examples * EPOCHS < FEWEST:
        return min(MAX_EPOCHS, max(EPOCHS, FEWEST // max(examples, 1)))
    if examples * EPOCHS > MOST:
        return max(1, MOST // examples)
    return EPOCHS

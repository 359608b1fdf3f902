"""What a loss is: a pure function of scores at supervised positions, one number each.

It neither shifts nor masks, sums, divides or scales by T^2: the trainer does, in one place (`training/objective.py`).

Shapes: N supervised positions, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from stillhouse.signal import Signal


@dataclass(frozen=True)
class Target:
    """What the teacher said at N positions: always the token, and more where the signal holds more."""

    tokens_N: Tensor
    """Token ids, int64."""
    logits_NV: Tensor | None = None
    """The teacher's scores over the student's own vocabulary, for losses that need `logits`."""


class Loss(Protocol):
    """Built with a temperature, in logits' units: both sides' scores are divided by it. 1 leaves them as they are."""

    needs: Signal
    """A teacher that cannot give it is refused before any compute."""

    def __init__(self, temperature: float = 1.0) -> None: ...

    def __call__(self, logits_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats: >= 0, and 0 where the student agrees with the target. Computed in float32 at least."""


def at_least_float32(logits_NV: Tensor) -> Tensor:
    """Half precision is widened, because exp and log of it are too coarse; float32 and float64 stay."""
    return logits_NV if logits_NV.dtype in (torch.float32, torch.float64) else logits_NV.float()

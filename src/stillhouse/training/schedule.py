"""The learning rate as a function of the step: a linear rise, then cosine, linear or constant. No state, so nothing to resume."""

from __future__ import annotations

import math
from typing import Literal


def rate_factor(step: int, steps: int, *, warmup: float, schedule: Literal["cosine", "linear", "constant"]) -> float:
    """What to multiply the recipe's rate with in step `step` (from 0) of `steps`. In (0, 1]."""
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    left = 1 - (step - rising) / max(steps - rising, 1)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (1 - left)))
    return left if schedule == "linear" else 1.0

"""The learning rate as a function of the step: a linear rise, then cosine, linear or constant. No state, so nothing to resume."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Literal

from stillhouse.recipe import Recipe
from stillhouse.training.stages import stage_at


def rate_factor(step: int, steps: int, *, warmup: float, schedule: Literal["cosine", "linear", "constant"]) -> float:
    """What to multiply the recipe's rate with in step `step` (from 0) of `steps`. In (0, 1]."""
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    left = 1 - (step - rising) / max(steps - rising, 1)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (1 - left)))
    return left if schedule == "linear" else 1.0


def rate_of(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """The learning rate of step `step` (from 0): one schedule over the run, or a stage's own where the stage says so."""
    training = recipe.training

    def factor(step: int, steps: int) -> float:
        return rate_factor(step, steps, warmup=training.warmup, schedule=training.schedule)

    def rate(step: int) -> float:
        if recipe.stages:
            index = stage_at(ends, step, steps)
            own = recipe.stages[index].learning_rate
            if own is not None:
                return own * factor(step - borders[index], borders[index + 1] - borders[index])
        return training.learning_rate * factor(step, steps)

    ends = list(accumulate(stage.share for stage in recipe.stages))
    borders = [0, *(round(end * steps) for end in ends)]
    return rate

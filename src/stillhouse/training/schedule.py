"""How long a run is, and its learning rate as a function of the step. No state, so nothing to resume."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Literal

from stillhouse.errors import RecipeError
from stillhouse.recipe import Recipe, Training
from stillhouse.training.stages import stage_at


def steps_of(options: Training, steps_per_epoch: int) -> int:
    """How many steps the recipe means. Raises RecipeError where it says so in two ways, or in none."""
    if options.steps is not None and options.epochs is None:
        return options.steps
    if options.epochs is not None and options.steps is None:
        return math.ceil(options.epochs * steps_per_epoch)
    raise RecipeError("Say how long to train, in one way: [training] steps = 1000, or epochs = 3.")


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

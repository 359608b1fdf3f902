"""A training run in a process of its own, to be killed. Says reports as JSON lines."""

from __future__ import annotations

from pathlib import Path

import orjson

from stillhouse.recipe import Recipe
from stillhouse.training import Progress, train


def say(progress: Progress) -> None:
    metrics = {name: value for name, value in progress.metrics.items() if not name.startswith("perf/")}
    print(orjson.dumps({"step": progress.step, "metrics": metrics}).decode(), flush=True)


def main(arguments: list[str]) -> int:
    """`arguments`: the folder with the recipe and the data."""
    root = Path(arguments[0])
    recipe = Recipe.model_validate_json((root / "recipe.json").read_bytes())
    train(recipe, root / "data", root / "killed", report=say)
    return 0

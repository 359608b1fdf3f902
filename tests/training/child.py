"""A training run in a process of its own, to be killed: `python -m tests.training.child ROOT`. Says reports as JSON lines."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from stillhouse.recipe import Recipe
from stillhouse.training import Progress, train


def say(progress: Progress) -> None:
    metrics = {name: value for name, value in progress.metrics.items() if not name.startswith("perf/")}
    print(orjson.dumps({"step": progress.step, "metrics": metrics}).decode(), flush=True)


def main(root: Path) -> None:
    recipe = Recipe.model_validate_json((root / "recipe.json").read_bytes())
    train(recipe, root / "data", root / "killed", report=say)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""How far a training is, said on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def say(name: str) -> Callable[[Any], None]:
    """For `train`: every message and every hundredth step."""

    def told(progress: Any) -> None:
        if progress.message or progress.step % 100 == 0:
            loss = progress.metrics.get("train/loss")
            print(f"{name} {progress.step}/{progress.steps} {loss} {progress.message}", file=sys.stderr, flush=True)

    return told

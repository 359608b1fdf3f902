"""How far a training is, said on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def say(name: str) -> Callable[[Any], None]:
    """For `train`: every hundredth step, on stderr."""

    def told(progress: Any) -> None:
        if progress.step % 100 == 0:
            print(f"{name} {progress.step}/{progress.steps} {progress.metrics.get('train/loss')}", file=sys.stderr, flush=True)

    return told

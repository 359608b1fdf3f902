"""A cache that is built in a process of its own, to be killed: `python -m tests.signals.child ROOT`. Says each block it wrote."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from stillhouse.signals import Shape, SignalWriter
from tests.signals.said import entries, key, part, rows_of_chance

COUNTS = [1 + i % 7 for i in range(300)]
EACH = 3


def build(root: Path) -> None:
    """Whatever is missing, in blocks of three, as the first build would have cut them."""
    rows, listed = rows_of_chance("sampled", sum(COUNTS), 40, 0), entries(COUNTS)
    borders = np.concatenate([[0], np.cumsum(COUNTS)]).astype(int)
    with SignalWriter(root, key("sampled"), Shape(vocabulary=40), shard_bytes=4096) as writer:
        done = len(listed) - len(writer.missing(listed))
        print(done, flush=True)
        for start in range(done, len(listed), EACH):
            end = min(start + EACH, len(listed))
            writer.add(listed[start:end], part(rows, borders[start], borders[end]))
            print(end, flush=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]))

"""What an executor is: it starts workers, and can reach those that run.

What is true of a run stands in the store alone; an executor keeps nothing that a restart of the server would lose. Whether a
worker still lives is told by the identity and the heartbeat in its run's row (`jobs.watch`), whoever started it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from stillhouse.run import Run


class Started(NamedTuple):
    """A worker's process, as its run's row names it."""

    pid: int
    boot: str


class Executor(Protocol):
    """Built from the settings: `EXECUTORS.resolve("local")(settings)`. Every method may be called from any thread."""

    def start(self, run: Run) -> Started:
        """Start `stillhouse.jobs.worker` for a queued run. Raises StoreError where none can be started."""

    def hurry(self, run: Run) -> None:
        """Have a working run's worker stop now rather than at its next look at the store. Does nothing where it cannot."""

    def kill(self, run: Run) -> None:
        """End a worker that does not listen. Its run is settled by whoever looks next. Does nothing where it cannot."""

    def wait(self, run: Run) -> bool:
        """Block until the run's worker has ended: True. At once False where that cannot be seen from here."""

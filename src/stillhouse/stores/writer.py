"""The one thread through which a store writes: what waits is taken as a group, applied by a backend, then acknowledged.

The more callers wait, the larger the group: under load one fsync serves them all. How a group reaches the disk is the backend's
business (in this process, or through the live server); here is only order and waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from stillhouse.errors import StoreError
from stillhouse.stores.writes.base import Arguments

MAX_GROUP = 256
"""Writes in one transaction: past it fsync is no longer what costs, and the first would wait for the last."""
_IDLE_SECONDS = 0.05
_NEXT_SECONDS = 0.002  # between two steps of housekeeping


@dataclass(slots=True, eq=False)
class Write:
    """One named write on its way. With an `id` it takes effect once, however often it is sent."""

    name: str
    arguments: Arguments
    id: str | None = None
    future: Future[Any] = field(default_factory=Future)


@dataclass(slots=True, frozen=True)
class Outcome:
    """How one write ended."""

    value: Any = None
    error: BaseException | None = None


class Backend(Protocol):
    """Applies groups; used by one thread only."""

    def apply(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        """One outcome a write, when all of them are durable (or refused). Never raises for what a write holds."""

    def idle(self) -> bool:
        """Housekeeping while nothing waits; True when there is more of it."""

    def close(self) -> None: ...


class Writer:
    """A thread around a backend. Writes take effect in the order they were submitted."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._queue: SimpleQueue[Write | None] = SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="stillhouse-writer", daemon=True)
        self._thread.start()

    def submit(self, write: Write) -> Future[Any]:
        """Queue it. Its future ends with the result once it is on disk, or with a StillhouseError."""
        with self._closing:  # no write may slip in behind the end mark and wait forever
            if self._closed:
                raise StoreError("The store is closed.")
            self._queue.put(write)
        return write.future

    def close(self) -> None:
        """Apply what waits, then stop."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_ = True
        patience: float | None = _IDLE_SECONDS
        while open_:
            try:
                first = self._queue.get(timeout=patience)
            except Empty:
                patience = _NEXT_SECONDS if self._backend.idle() else None
                continue
            group, open_ = self._group(first)
            self._apply(group)
            patience = _IDLE_SECONDS
        self._backend.close()

    def _group(self, first: Write | None) -> tuple[list[Write], bool]:
        """What waits, up to MAX_GROUP; and whether the end mark was not among it."""
        group: list[Write] = []
        item = first
        while item is not None:
            group.append(item)
            if len(group) >= MAX_GROUP:
                return group, True
            try:
                item = self._queue.get_nowait()
            except Empty:
                return group, True
        return group, False

    def _apply(self, group: list[Write]) -> None:
        live = [write for write in group if write.future.set_running_or_notify_cancel()]
        if not live:
            return
        try:
            outcomes = self._backend.apply(live)
        except Exception as exc:  # our mistake: the callers must hear of it all the same
            outcomes = [Outcome(error=exc)] * len(live)
        for write, outcome in zip(live, outcomes, strict=True):
            if outcome.error is None:
                write.future.set_result(outcome.value)
            else:
                write.future.set_exception(outcome.error)

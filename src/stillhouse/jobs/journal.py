"""What a run said, in files of its own folder: `events.jsonl` (appended), `status.json` (how it ended), `log.txt`.

The worker writes here first and to the store afterwards, so a database that is away for a while loses nothing: what was not sent
yet is still in the file. Nothing here knows the store.
"""

from __future__ import annotations

import math
import os
import threading
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from stillhouse.files import write_atomic
from stillhouse.records import Record
from stillhouse.run import RunEvent

EVENTS, STATUS, LOG = "events.jsonl", "status.json", "log.txt"


class Status(Record):
    """How a worker's claim ended, in its own words; a run is never given an end that nobody said."""

    epoch: int
    state: Literal["succeeded", "failed", "stopped"]
    finished: int
    error: str | None = None
    result: dict[str, Any] = {}


class Journal:
    """The event file of one run, open for appending. One process writes it: the one that claimed the run."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self._run = run_id
        self._path = folder / EVENTS
        folder.mkdir(parents=True, exist_ok=True)
        _cut_torn_tail(self._path)
        self._unsent = read_events(self._path)
        self._next = self._unsent[-1].seq + 1 if self._unsent else 0
        self._guard = threading.Lock()
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def append(
        self,
        message: str = "",
        *,
        step: int | None = None,
        metrics: dict[str, float] | None = None,
        level: Literal["info", "warn", "error"] = "info",
    ) -> RunEvent:
        """Write one event: one line, one write. It survives this process's death; `sync` makes it survive the machine's.

        JSON has no infinities: a metric that is not finite is told in the message instead.
        """
        numbers = metrics or {}
        odd = ", ".join(f"{name} is {value}" for name, value in numbers.items() if not math.isfinite(value))
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        said = f"{message} ({odd})".strip() if odd else message
        with self._guard:
            event = RunEvent(
                run=self._run, seq=self._next, time=time.time(), level=level, message=said, step=step, metrics=finite
            )
            os.write(self._file, event.model_dump_json().encode() + b"\n")
            self._next += 1
            self._unsent.append(event)
        return event

    def unsent(self) -> list[RunEvent]:
        """What the store has not confirmed yet; after opening, all of it, since sending twice changes nothing."""
        with self._guard:
            return list(self._unsent)

    def sent(self, events: list[RunEvent]) -> None:
        """The store has these, the first of `unsent`."""
        with self._guard:
            del self._unsent[: len(events)]

    def sync(self) -> None:
        """On disk."""
        os.fsync(self._file)

    def close(self) -> None:
        """No more events."""
        os.close(self._file)


def read_events(path: Path) -> list[RunEvent]:
    """Every whole line of an event file; empty when there is none."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [RunEvent.model_validate_json(line) for line in lines[:-1] if line]


def write_status(folder: Path, status: Status) -> None:
    """Replace `status.json` whole or not at all. Raises StoreError."""
    write_atomic(folder / STATUS, status.json_bytes())


def read_status(folder: Path, epoch: int) -> Status | None:
    """How claim number `epoch` said it ended; None when it did not say."""
    try:
        status = Status.model_validate_json((folder / STATUS).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return status if status.epoch == epoch else None


def _cut_torn_tail(path: Path) -> None:
    """Drop a last line that a crash cut off: it was never sent, and an append would glue the next one to it."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)

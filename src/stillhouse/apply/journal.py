"""A file of JSON lines to which each item is added as it is done, on disk before the next step: what a killed run resumes from.

Not a store: nothing is looked up in it, and it is dropped when its run is over. A line that a crash cut off is not there.
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Generic, TypeVar

from pydantic import ValidationError

from stillhouse.errors import ConflictError
from stillhouse.records import Record

R = TypeVar("R", bound=Record)


class Journal(Generic[R]):
    """One run's file, held by one process at a time. Use it in a `with` block; `add` may be called from any thread."""

    def __init__(self, path: Path, kind: type[R]) -> None:
        self.path = path
        self.kind = kind
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _locked(path)
        while not _stands_at(self._file, path):  # dropped by its last holder between the opening and the locking
            self._file.close()
            self._file = _locked(path)

    def __enter__(self) -> Journal[R]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:  # an `add` that a cancelled caller no longer waits for ends first
            self._file.close()

    def items(self) -> list[R]:
        """Everything added so far, in order. The rest of a line that was cut off is removed from the file."""
        with self._lock:
            self._file.seek(0)
            whole, found = 0, []
            for line in self._file:
                item = self._parse(line)
                if item is None:
                    break
                found.append(item)
                whole += len(line)
            self._file.truncate(whole)
            return found

    def add(self, item: R) -> None:
        """Returns when it is on disk."""
        with self._lock:
            self._file.write(item.json_bytes() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def drop(self) -> None:
        """The run is over: nothing is left to resume."""
        self.path.unlink(missing_ok=True)

    def _parse(self, line: bytes) -> R | None:
        if not line.endswith(b"\n"):
            return None
        try:
            return self.kind.model_validate_json(line)
        except ValidationError:
            return None


def _locked(path: Path) -> BinaryIO:
    file = path.open("ab+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConflictError(f"Another process is doing the same right now; it holds {path.name}. Let it finish.") from None
    return file


def _stands_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False

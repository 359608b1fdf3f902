"""A file of JSON lines to which each item is added as it is done, on disk before the next step: what a killed run resumes from.

Not a store: an item is found by where it begins, and the file is dropped when its run is over. A line that a crash cut off is not
there.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Generic, TypeVar

from pydantic import ValidationError

from stillhouse.errors import ConflictError, StoreError
from stillhouse.records import Record

R = TypeVar("R", bound=Record)


class Journal(Generic[R]):
    """One run's file, held by one process at a time. Use it in a `with` block; any thread may call its methods."""

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
        return [item for _, item in self.scan()]

    def scan(self) -> Iterator[tuple[int, R]]:
        """As `items`, one by one, each with where it begins. Nothing may be added meanwhile."""
        with self._lock:
            self._file.seek(0)
            whole = 0
            for line in self._file:
                item = self._parse(line)
                if item is None:
                    break
                yield whole, item
                whole += len(line)
            self._file.truncate(whole)

    def read(self, begin: int) -> R:
        """The item that begins there. Raises StoreError where none does."""
        with self._lock:
            self._file.seek(begin)
            item = self._parse(self._file.readline())
        if item is None:
            raise StoreError(f"{self.path} was changed by somebody else: no item begins at byte {begin}.")
        return item

    def add(self, item: R) -> None:
        """Returns when it is on disk."""
        self.extend([item])

    def extend(self, items: Sequence[R]) -> list[int]:
        """Returns when all are on disk, with one wait for it: where each begins."""
        lines = [item.json_bytes() + b"\n" for item in items]
        with self._lock:
            begin = self._file.seek(0, os.SEEK_END)
            self._file.write(b"".join(lines))
            self._file.flush()
            os.fsync(self._file.fileno())
        begins = []
        for line in lines:
            begins.append(begin)
            begin += len(line)
        return begins

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

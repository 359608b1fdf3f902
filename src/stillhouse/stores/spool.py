"""Where captured exchanges are kept while the database is locked: append-only segments, each record `length crc32 payload`.

A record is durable when `append` returns. A torn last record, from a kill while it was appended, was never acknowledged and is
dropped. Only what cannot reach the database lands here; it is no second store.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.errors import StoreError
from stillhouse.files import sync_folder
from stillhouse.ids import new_id
from stillhouse.stores import wire

_HEADER = struct.Struct(">II")


class Spool:
    """The segments in one folder, oldest first. Used by the writer thread only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: int | None = None
        self._length = 0
        self.waiting = bool(self._paths())  # kept, so that asking costs nothing on the hot path

    def append(self, record: dict[str, Any]) -> None:
        """Keep a record. Raises OSError; then nothing of it is kept."""
        payload = wire.dumps(record)
        frame = _HEADER.pack(len(payload), zlib.crc32(payload)) + payload
        descriptor = self._segment()
        try:
            written = os.write(descriptor, frame)
            if written != len(frame):
                raise OSError(f"only {written} of {len(frame)} bytes were written")
            os.fdatasync(descriptor)
        except OSError:
            os.ftruncate(descriptor, self._length)
            raise
        self._length += len(frame)

    def segments(self) -> list[Path]:
        """What waits to be replayed; the open segment is closed first."""
        self.close()
        return self._paths()

    def read(self, segment: Path) -> Iterator[dict[str, Any]]:
        """Records in the order they were appended. Raises StoreError when one in the middle was altered."""
        content = segment.read_bytes()
        place = 0
        while place + _HEADER.size <= len(content):
            length, checksum = _HEADER.unpack_from(content, place)
            payload = content[place + _HEADER.size : place + _HEADER.size + length]
            place += _HEADER.size + length
            if len(payload) < length:
                return  # torn: the process died while appending it
            if zlib.crc32(payload) != checksum:
                if place == len(content):
                    return
                raise StoreError(f"The spool segment {segment} was altered. Move it away to start without its writes.")
            yield wire.loads(payload)

    def remove(self, segment: Path) -> None:
        """Its writes are in the database."""
        segment.unlink()
        sync_folder(self._folder)
        self.waiting = bool(self._paths())

    def new_id(self) -> str:
        """For a write that has none: replayed twice, it takes effect once."""
        return new_id("spooled")

    def close(self) -> None:
        if self._open is not None:
            os.close(self._open)
            self._open = None

    def _segment(self) -> int:
        if self._open is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{new_id('segment')}.spool"
            self._open = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._length = 0
            self.waiting = True
            sync_folder(self._folder)
        return self._open

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.spool"))

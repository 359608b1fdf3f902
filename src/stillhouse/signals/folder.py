"""A cache's folder: shards of blocks, a journal of what is whole, a description, the teacher's head.

    cache.json            key and shape, with a checksum of themselves and of the head
    head.block            tier hidden: the teacher's last layer
    shard-0000.blocks     blocks, one after the other; a new shard is begun above 64 MiB
    journal               a line a block: its checksum, and where it lies

A block is on disk before its line is, so whatever a killed process leaves behind its last line is not there; what a full disk cut
off is taken back. Nothing is ever changed in place. Opening reads every byte against its checksum once (about a second a
gigabyte): blocks that fail are as if they had never been written, and so are their examples.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import orjson
from pydantic import ValidationError

from stillhouse.errors import ConflictError, NotFoundError, StoreError
from stillhouse.files import sync_folder, write_atomic
from stillhouse.records import Record, fingerprint
from stillhouse.signals.blocks import Array, Block, Column, read_block, write_block
from stillhouse.signals.key import Entry, Key, Shape

DESCRIPTION = "cache.json"
SHARD_BYTES = 64 * 2**20

_HEAD, _JOURNAL, _LOCK = "head.block", "journal", "lock"


class Place(Record):
    """Where a block lies."""

    shard: int
    offset: int
    size: int
    sha256: str


class Description(Record):
    """`cache.json`."""

    key: Key
    shape: Shape
    head: str | None = None
    """sha256 of `head.block`."""
    check: str = ""
    """Of all the rest."""

    def checked(self) -> Description:
        """With its own checksum."""
        return self.model_copy(update={"check": self._sum()})

    @property
    def whole(self) -> bool:
        return self.check == self._sum()

    def _sum(self) -> str:
        return fingerprint(self.model_copy(update={"check": ""}).json_bytes())


def describe(folder: Path, key: Key, shape: Shape, head: Mapping[str, Array]) -> None:
    """Make the cache's folder, or mend its description and head. Raises StoreError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StoreError(f"The teacher's cache cannot be made at {folder}: {exc.strerror or exc}.") from exc
    digest = None
    if head:
        rows = len(next(iter(head.values())))
        data = write_block(Block((Entry(example="", content="", rows=rows),), {name: Column(a) for name, a in head.items()}))
        write_atomic(folder / _HEAD, data)
        digest = hashlib.sha256(data).hexdigest()
    write_atomic(folder / DESCRIPTION, Description(key=key, shape=shape, head=digest).checked().json_bytes())


def description(folder: Path) -> Description:
    """Raises NotFoundError where there is no cache, StoreError where what it says of itself was altered."""
    try:
        found = Description.model_validate_json((folder / DESCRIPTION).read_bytes())
    except FileNotFoundError:
        raise NotFoundError(f"There is no teacher's cache in {folder}.") from None
    except ValidationError as exc:
        raise StoreError(f"{folder / DESCRIPTION} cannot be read: {exc.errors()[0]['msg']}.") from exc
    if not found.whole:
        raise StoreError(f"{folder / DESCRIPTION} was altered: its checksum does not fit.")
    return found


def read_head(folder: Path, found: Description) -> dict[str, Array]:
    """The head's arrays; empty for tiers without. Raises StoreError where it was altered."""
    if found.head is None:
        return {}
    try:
        data = (folder / _HEAD).read_bytes()
    except OSError as exc:
        raise StoreError(f"{folder / _HEAD} cannot be read: {exc.strerror or exc}.") from exc
    if hashlib.sha256(data).hexdigest() != found.head:
        raise StoreError(f"{folder / _HEAD} was altered: its checksum does not fit.")
    return {name: column.values for name, column in read_block(data).columns.items()}


class Shards:
    """The blocks of a folder that are whole, in the order they were written; every one was read against its checksum."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maps: dict[int, memoryview] = {}
        listed, self.damage = _read_journal(folder)
        self.places: list[Place] = []
        for place in listed:
            problem = self._problem(place)
            if problem is None:
                self.places.append(place)
            else:
                self.damage.append(problem)

    def bytes_of(self, place: Place) -> memoryview:
        """The block's bytes, mapped, not copied."""
        return self._map(place.shard)[place.offset : place.offset + place.size]

    def _problem(self, place: Place) -> str | None:
        name = shard_name(place.shard)
        data = self.bytes_of(place)
        if len(data) != place.size:
            return f"{name} ends before its block at {place.offset}"
        if hashlib.sha256(data).hexdigest() != place.sha256:
            return f"{name} was altered in its block at {place.offset}"
        return None

    def _map(self, shard: int) -> memoryview:
        if shard not in self._maps:
            self._maps[shard] = _mapped(self._folder / shard_name(shard))
        return self._maps[shard]


class Appender:
    """Adds blocks to a folder, one process at a time. What was not whole is cleared away first. Use it in a `with` block."""

    def __init__(self, folder: Path, *, shard_bytes: int = SHARD_BYTES) -> None:
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._lock = _locked(folder / _LOCK)
        try:
            self._shards = Shards(folder)
            self.places, self.damage = list(self._shards.places), self._shards.damage
            if self.damage:
                write_atomic(folder / _JOURNAL, b"".join(_line(place) for place in self.places))
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Appender:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.close()

    def blocks(self) -> list[memoryview]:
        """The bytes of each block that was there when it was opened."""
        return [self._shards.bytes_of(place) for place in self._shards.places]

    def append(self, data: bytes) -> Place:
        """Returns when the block is on disk. Raises StoreError where the disk refuses; the cache is then as it was before."""
        place = self._next(data)
        path = self._folder / shard_name(place.shard)
        journal = self._folder / _JOURNAL
        written, said = _size_of(path), _size_of(journal)
        try:
            _write_at(path, place.offset, data)
            _write_at(journal, said, _line(place))
            if not place.offset or not said:
                sync_folder(self._folder)
        except OSError as exc:
            _take_back(path, min(written, place.offset))
            _take_back(journal, said)
            raise StoreError(
                f"The teacher's cache cannot be written to {path}: {exc.strerror or exc}. What was written before is whole; "
                "make room and start again, and it goes on from there."
            ) from exc
        self.places.append(place)
        return place

    def _next(self, data: bytes) -> Place:
        """Behind the last block, or in a new shard where that one is full."""
        last = max(self.places, key=lambda place: (place.shard, place.offset), default=None)
        shard, offset = (0, 0) if last is None else (last.shard, last.offset + last.size)
        offset += -offset % 64  # so that arrays in it begin at multiples of 64 in the file
        if offset and offset + len(data) > self._shard_bytes:
            shard, offset = shard + 1, 0
        return Place(shard=shard, offset=offset, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def shard_name(shard: int) -> str:
    """Its file."""
    return f"shard-{shard:04d}.blocks"


def _line(place: Place) -> bytes:
    content = place.json_bytes()
    return b"%08x %s\n" % (zlib.crc32(content), content)


def _read_journal(folder: Path) -> tuple[list[Place], list[str]]:
    """Its whole lines, and what is wrong with the others (the last one may have been cut off by a crash)."""
    try:
        lines: Sequence[bytes] = (folder / _JOURNAL).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return [], []
    places, damage = [], []
    for number, line in enumerate(lines, start=1):
        check, _, content = line.rstrip(b"\n").partition(b" ")
        try:
            if not line.endswith(b"\n") or int(check, 16) != zlib.crc32(content):
                raise ValueError("not as it was written")
            places.append(Place.model_validate(orjson.loads(content)))
        except ValueError:
            damage.append(f"{_JOURNAL}, line {number}, is not as it was written")
    return places, damage


def _mapped(path: Path) -> memoryview:
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (FileNotFoundError, ValueError):  # ValueError: an empty file
        return memoryview(b"")


def _write_at(path: Path, offset: int, data: bytes) -> None:
    """At `offset`, and nothing behind it; on return it is on disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _take_back(path: Path, size: int) -> None:
    if path.exists():
        os.truncate(path, size)


def _locked(path: Path) -> BinaryIO:
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConflictError(f"Another process is writing the teacher's cache in {path.parent}. Let it finish.") from None
    return file

"""The one writer of a teacher's cache: of live teachers, of answers with log-probabilities, of labelling.

Each example is written once; examples that are written together become one block, whole or not at all. The same examples in the
same order give the same bytes, however often the writing was killed in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from stillhouse.errors import NotFoundError, StoreError
from stillhouse.signals.blocks import Array, Block, Column, read_entries, write_block
from stillhouse.signals.folder import SHARD_BYTES, Appender, describe, description, read_head
from stillhouse.signals.key import Entry, Key, Shape
from stillhouse.signals.tiers import Rows, columns_of


class SignalWriter:
    """Adds to the cache `root/key.name`, which is made if need be. Holds it alone; use it in a `with` block.

    Raises ConflictError while another process writes it, StoreError where the disk refuses.
    """

    def __init__(
        self, root: Path, key: Key, shape: Shape, head: Mapping[str, Array] | None = None, *, shard_bytes: int = SHARD_BYTES
    ) -> None:
        self.folder = root / key.name
        self._shape = shape
        if not _described(self.folder, key, shape):
            describe(self.folder, key, shape, head or {})
        self._appender = Appender(self.folder, shard_bytes=shard_bytes)
        self._there = {entry.example: entry for block in self._appender.blocks() for entry in read_entries(block)}

    def __enter__(self) -> SignalWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._appender.__exit__(kind, error, trace)

    def missing(self, entries: Iterable[Entry]) -> list[Entry]:
        """Those that are not there yet, or stand there with another content, each once, in order."""
        wanted = {entry.example: entry for entry in entries}
        return [entry for entry in wanted.values() if self._there.get(entry.example) != entry]

    def add(self, entries: Sequence[Entry], rows: Rows, states: Mapping[str, Column] | None = None) -> None:
        """Write what the teacher said about `entries`: their rows one after the other, and whole-example states by name.

        Returns when it is on disk. Raises ValueError where rows and entries do not fit, StoreError where the disk refuses.
        """
        counts = np.asarray([entry.rows for entry in entries], dtype=np.int64)
        columns = {**columns_of(rows, counts, self._shape.vocabulary), **(states or {})}
        self._appender.append(write_block(Block(tuple(entries), columns)))
        self._there.update((entry.example, entry) for entry in entries)


def _described(folder: Path, key: Key, shape: Shape) -> bool:
    """Whether description and head are there, whole, and of this key and shape."""
    try:
        found = description(folder)
        read_head(folder, found)
    except (NotFoundError, StoreError):
        return False
    return found.key == key and found.shape == shape

"""The one reader of a teacher's cache: by example id, never by step.

Plain arrays are read in place from the mapped shards; packed ones are unpacked a block at a time and kept, the least lately used
dropped first once they are more than `budget` bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from stillhouse.errors import NotFoundError, StoreError
from stillhouse.signals.blocks import Array, Block, read_block, read_entries
from stillhouse.signals.folder import Shards, description, read_head
from stillhouse.signals.key import Entry
from stillhouse.signals.tiers import Rows, expanded, names_of, rows_of

BUDGET = 2**30
"""Bytes of unpacked arrays that are kept in memory."""


class SignalReader:
    """The cache in `folder`. Opening it reads every byte against its checksum; what fails is not there.

    Raises NotFoundError where there is none, StoreError where its description or head was altered.
    """

    def __init__(self, folder: Path, *, budget: int = BUDGET) -> None:
        self.folder = folder
        found = description(folder)
        self.key, self.shape = found.key, found.shape
        self.head: Mapping[str, Array] = read_head(folder, found)
        """Tier hidden: `weight` VxH, perhaps `bias` V."""
        self._shards = Shards(folder)
        self._budget = budget
        self._open: OrderedDict[int, tuple[Block, Mapping[str, Array]]] = OrderedDict()
        self.unpacked_bytes = 0
        self._where: dict[str, tuple[int, int]] = {}
        self.entries: dict[str, Entry] = {}
        """Example id -> what is known of it. One that was written again counts as it was written last."""
        for number, place in enumerate(self._shards.places):
            for index, entry in enumerate(read_entries(self._shards.bytes_of(place))):
                self._where[entry.example], self.entries[entry.example] = (number, index), entry

    @property
    def damage(self) -> Sequence[str]:
        """What was found altered or cut off, a sentence each."""
        return self._shards.damage

    @property
    def block_bytes(self) -> int:
        """On disk, of its whole blocks: what grows with the examples."""
        return sum(place.size for place in self._shards.places)

    @property
    def size_bytes(self) -> int:
        """The head included."""
        return self.block_bytes + sum(array.nbytes for array in self.head.values())

    def missing(self, entries: Iterable[Entry]) -> list[Entry]:
        """Those that are not there, or stand there with another content."""
        return [entry for entry in entries if self.entries.get(entry.example) != entry]

    def check(self, entries: Iterable[Entry]) -> None:
        """Raises NotFoundError for an example that is not there, StoreError for one whose content is another's."""
        for entry in entries:
            there = self.entries.get(entry.example)
            if there is None:
                raise NotFoundError(
                    f"The teacher's cache in {self.folder} knows no example {entry.example}. Build it with the same dataset."
                )
            if there != entry:
                raise StoreError(
                    f"The example {entry.example} is not what the teacher read when the cache in {self.folder} was built: its "
                    "tokens differ. Use the tokenizer, chat template and max_tokens of then, or build the cache again."
                )

    def rows(self, examples: Sequence[str]) -> Rows:
        """What the teacher said about `examples`, one after the other. Raises NotFoundError."""
        arrays = {name: _joined(parts) for name, parts in self._parts(examples, names_of(self.key.tier)).items()}
        return rows_of(self.key.tier, arrays)

    def states(self, examples: Sequence[str], name: str) -> list[Array]:
        """A whole-example array of each. Raises NotFoundError where the cache does not keep it."""
        if name not in self.key.states:
            raise NotFoundError(f"The teacher's cache keeps no '{name}'. It keeps: {', '.join(self.key.states) or 'no states'}.")
        return self._parts(examples, (name,))[name]

    def _parts(self, examples: Sequence[str], names: Sequence[str]) -> dict[str, list[Array]]:
        parts: dict[str, list[Array]] = {name: [] for name in names}
        for example in examples:
            if example not in self._where:
                raise NotFoundError(f"The teacher's cache in {self.folder} knows no example {example}.")
            number, index = self._where[example]
            block, borders = self._block(number)
            for name in names:
                start, end = borders[name][index : index + 2]
                parts[name].append(block.columns[name].values[start:end])
        return parts

    def _block(self, number: int) -> tuple[Block, Mapping[str, Array]]:
        if number in self._open:
            self._open.move_to_end(number)
        else:
            data = self._shards.bytes_of(self._shards.places[number])
            block = expanded(read_block(data), self.key.tier)
            self._open[number] = block, {name: block.borders(name) for name in block.columns}
            self.unpacked_bytes += _unpacked(block)
            while self.unpacked_bytes > self._budget and len(self._open) > 1:
                self.unpacked_bytes -= _unpacked(self._open.popitem(last=False)[1][0])
        return self._open[number]


def _unpacked(block: Block) -> int:
    """Bytes in memory that are not the mapped file's."""
    return sum(column.values.nbytes for column in block.columns.values() if column.packing != "plain")


def _joined(parts: Sequence[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)

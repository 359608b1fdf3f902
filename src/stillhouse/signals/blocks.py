"""A block: some examples and, for each, its part of one or more arrays, as bytes that describe themselves.

    magic (8) | length of the header (4, little-endian) | header (JSON, zstd) | filling | array | filling | array ...

Arrays begin at multiples of 64 bytes, so that one that is kept as it is can be read in place from a mapped file. What the arrays
mean is `tiers.py`'s affair; where blocks lie and whether they are whole is `folder.py`'s.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import orjson
import zstandard
from numpy.typing import NDArray

from stillhouse.errors import StoreError
from stillhouse.signals.bits import pack, unpack, width_of
from stillhouse.signals.key import Entry

Array = NDArray[Any]
Buffer = bytes | memoryview

Packing = Literal["plain", "planes", "bits"]
"""plain: as in memory. planes: the numbers' first bytes, then their second ones, ..., compressed. bits: as few bits as the
bound needs, compressed where that helps."""

_MAGIC = b"SHBLOCK1"
_ALIGN = 64
_LONGEST_HEADER = 2**28
"""Bytes. A damaged frame may claim any size, and memory is taken by the claim."""
_DTYPES = {"<f2", "<f4", "<i4", "|u1"}


@dataclass(frozen=True)
class Column:
    """One array of a block: the examples' parts of it, joined along the first axis."""

    values: Array
    lengths: tuple[int, ...] | None = None
    """How much of the first axis is each example's. None: as much as the example has rows."""
    packing: Packing = "plain"
    bound: int = 0
    """packing = bits: every number is below it."""


@dataclass(frozen=True)
class Block:
    """Examples in order, and their arrays by name."""

    entries: tuple[Entry, ...]
    columns: Mapping[str, Column]

    def borders(self, name: str) -> Array:
        """Where in the column each example's part begins, and the last one ends: one number more than examples."""
        lengths = self.columns[name].lengths
        counts = [entry.rows for entry in self.entries] if lengths is None else lengths
        return np.concatenate([[0], np.cumsum(np.asarray(counts, dtype=np.int64))])


def write_block(block: Block) -> bytes:
    """The block as bytes: equal blocks, equal bytes. Raises ValueError where a column's lengths do not add up."""
    bodies, described, offset = [], [], 0
    for name, column in sorted(block.columns.items()):
        if int(block.borders(name)[-1]) != len(column.values):
            raise ValueError(f"{name}: the examples' lengths do not add up to its {len(column.values)}")
        body, facts = _write_array(column)
        offset += -offset % _ALIGN
        described.append({"name": name, "offset": offset, "size": len(body), "lengths": column.lengths, **facts})
        bodies.append((offset, body))
        offset += len(body)
    entries = [[entry.example, entry.content, entry.rows] for entry in block.entries]
    header = zstandard.compress(orjson.dumps({"entries": entries, "columns": described}))
    start = _aligned(len(_MAGIC) + 4 + len(header))
    content = bytearray(start + offset)
    content[: len(_MAGIC) + 4 + len(header)] = _MAGIC + struct.pack("<I", len(header)) + header
    for at, body in bodies:
        content[start + at : start + at + len(body)] = body
    return bytes(content)


def read_entries(data: Buffer) -> tuple[Entry, ...]:
    """The examples of a block, without its arrays. Raises StoreError for bytes that are no block."""
    return _entries(_header(data)[0])


def read_block(data: Buffer) -> Block:
    """What `write_block` wrote; plain arrays are views of `data`. Raises StoreError for bytes that are no block."""
    header, start = _header(data)
    entries = _entries(header)
    try:
        columns = {facts["name"]: _read_array(data, start, facts) for facts in header["columns"]}
        block = Block(entries, columns)
        if any(int(block.borders(name)[-1]) != len(column.values) for name, column in columns.items()):
            raise ValueError("lengths that do not add up")
    except (KeyError, TypeError, ValueError, zstandard.ZstdError) as exc:
        raise StoreError(f"A block of the teacher's cache cannot be read: {exc}.") from exc
    return block


def _write_array(column: Column) -> tuple[bytes, dict[str, Any]]:
    values = np.ascontiguousarray(column.values)
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    if values.dtype.str not in _DTYPES:
        raise ValueError(f"arrays are of {', '.join(sorted(_DTYPES))}, got {values.dtype.str}")
    facts = {"dtype": values.dtype.str, "shape": values.shape, "packing": column.packing, "bound": column.bound}
    if column.packing == "plain":
        return values.tobytes(), facts
    if column.packing == "planes":
        planes = values.reshape(-1, 1).view(np.uint8).T
        return zstandard.compress(planes.tobytes()), facts
    packed = pack(values, width_of(column.bound))
    smaller = zstandard.compress(packed)
    return (smaller, {**facts, "compressed": True}) if len(smaller) < len(packed) else (packed, facts)


def _read_array(data: Buffer, start: int, facts: Mapping[str, Any]) -> Column:
    dtype, shape = np.dtype(facts["dtype"]), tuple(facts["shape"])
    if dtype.str not in _DTYPES:
        raise ValueError(f"an array of {dtype.str}")
    count = int(np.prod(shape, dtype=np.int64))
    body = memoryview(data)[start + facts["offset"] : start + facts["offset"] + facts["size"]]
    if facts["packing"] == "plain":
        values = np.frombuffer(body, dtype=dtype, count=count)
    elif facts["packing"] == "planes":
        planes = _decompressed(body, count * dtype.itemsize)
        values = np.ascontiguousarray(np.frombuffer(planes, np.uint8).reshape(dtype.itemsize, count).T).view(dtype)
    else:
        width = width_of(facts["bound"])
        size = -(-count * width // 8)
        packed = _decompressed(body, size) if facts.get("compressed") else bytes(body)
        values = unpack(packed, width, count).astype(dtype)
    lengths = facts["lengths"]
    return Column(values.reshape(shape), None if lengths is None else tuple(lengths), facts["packing"], facts["bound"])


def _decompressed(body: Buffer, size: int) -> bytes:
    """`size` bytes, checked before anything of that size is allocated."""
    data = bytes(body)
    if size == 0:
        return b""
    if zstandard.get_frame_parameters(data).content_size != size:
        raise ValueError("an array of another size than its header says")
    return zstandard.decompress(data)


def _header(data: Buffer) -> tuple[dict[str, Any], int]:
    view = memoryview(data)
    prefix = len(_MAGIC) + 4
    try:
        if bytes(view[: len(_MAGIC)]) != _MAGIC:
            raise ValueError("it does not begin like one")
        [length] = struct.unpack("<I", view[len(_MAGIC) : prefix])
        packed = bytes(view[prefix : prefix + length])
        if zstandard.get_frame_parameters(packed).content_size > _LONGEST_HEADER:  # it would be allocated
            raise ValueError("its header says that it is longer than any")
        return orjson.loads(zstandard.decompress(packed)), _aligned(prefix + length)
    except (ValueError, struct.error, zstandard.ZstdError) as exc:
        raise StoreError(f"A block of the teacher's cache cannot be read: {exc}.") from exc


def _entries(header: Mapping[str, Any]) -> tuple[Entry, ...]:
    try:
        found: Sequence[Any] = header["entries"]
        return tuple(Entry(example=example, content=content, rows=rows) for example, content, rows in found)
    except (KeyError, TypeError, ValueError) as exc:
        raise StoreError(f"A block of the teacher's cache names no examples: {exc}.") from exc


def _aligned(offset: int) -> int:
    return offset + -offset % _ALIGN

"""A block describes itself: what was written is read, and bytes that are no block are an error of ours, whatever they are."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import StoreError
from stillhouse.signals.blocks import Block, Column, Packing, read_block, read_entries, write_block
from tests.signals.said import entries


def sample() -> Block:
    numbers = np.arange(12, dtype=np.int32).reshape(6, 2)
    return Block(
        tuple(entries([1, 3, 2])),
        {
            "plain": Column(numbers.astype(np.float32)),
            "planes": Column(np.linspace(-9, 0, 6).astype(np.float16), packing="planes"),
            "bits": Column(numbers[:4], (2, 0, 2), "bits", 16),
        },
    )


def test_what_is_read_is_what_was_written() -> None:
    written = sample()
    found = read_block(write_block(written))
    assert found.entries == read_entries(write_block(written)) == written.entries
    for name, column in written.columns.items():
        assert found.columns[name].values.dtype == column.values.dtype
        assert np.array_equal(found.columns[name].values, column.values)
        assert found.borders(name).tolist() == written.borders(name).tolist()
    assert found.borders("plain").tolist() == [0, 1, 4, 6]
    assert found.borders("bits").tolist() == [0, 2, 2, 4]


def test_plain_arrays_are_read_in_place_and_aligned() -> None:
    data = write_block(sample())
    values = read_block(data).columns["plain"].values
    assert not values.flags.owndata
    assert not values.flags.writeable
    offset = values.__array_interface__["data"][0] - np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    assert offset % 64 == 0


@pytest.mark.parametrize("packing", ["plain", "planes", "bits"])
def test_nothing_is_kept_as_nothing(packing: Packing) -> None:
    block = Block(tuple(entries([0])), {"empty": Column(np.zeros((0, 3), np.int32), packing=packing, bound=5)})
    assert read_block(write_block(block)).columns["empty"].values.shape == (0, 3)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_block_are_refused(data: bytes) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        read_block(data)


@given(st.data())
def test_a_damaged_block_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    """Checksums find damage before this; here nothing may crash, hang or fill the memory without them."""
    content = bytearray(write_block(sample()))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(content)))
    for damaged in (bytes(content), bytes(content[:cut])):
        with suppress(StoreError):
            read_block(damaged)


@pytest.mark.parametrize("header", [{}, [], {"entries": 3}, {"entries": [1]}, {"entries": [[1, 2]]}])
def test_a_header_without_examples_is_refused(header: object) -> None:
    packed = zstandard.compress(orjson.dumps(header))
    magic = write_block(sample())[:8]
    for read in (read_block, read_entries):
        with pytest.raises(StoreError):
            read(magic + struct.pack("<I", len(packed)) + packed)


def test_lengths_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="do not add up to its 5"):
        write_block(Block(tuple(entries([1, 3])), {"rows": Column(np.zeros(5, np.float32))}))


def test_an_array_that_could_hold_anything_is_refused() -> None:
    with pytest.raises(ValueError, match=r"arrays are of .*got \|O"):
        write_block(Block(tuple(entries([1])), {"rows": Column(np.asarray([{}], dtype=object))}))

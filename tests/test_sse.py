"""The splitter keeps every byte, gives the same events whatever the chunking, and reads the WHATWG grammar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.chat import Chunk
from stillhouse.sse import BOM, EventSplitter, iter_events

PIECES = [b"data", b"data:", b": ", b" ", b"{", b"}", b'"a"', b"\n", b"\r", b"\r\n", b"[DONE]", b"event: x", b"\xe4\xbd\xa0", BOM]
streams = st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join))


def split(raw: bytes, cuts: list[int]) -> list[Chunk]:
    splitter, chunks = EventSplitter(), []
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    for start, stop in zip(edges, edges[1:], strict=False):
        chunks += splitter.feed(raw[start:stop])
    rest = splitter.end()
    assert splitter.pending == 0
    return chunks if rest is None else [*chunks, rest]


def facts(chunks: list[Chunk]) -> list[tuple[bytes, bytes | None, bool]]:
    return [(chunk.raw, chunk.data, chunk.whole) for chunk in chunks]


@given(streams, st.lists(st.integers(min_value=0, max_value=10_000), max_size=12))
def test_any_bytes_any_chunking(raw: bytes, cuts: list[int]) -> None:
    chunks = split(raw, cuts)
    assert b"".join(chunk.raw for chunk in chunks) == raw
    assert facts(chunks) == facts(list(iter_events(raw)))
    assert all(chunk.whole for chunk in chunks[:-1])


@given(streams)
def test_byte_by_byte_is_the_same_as_at_once(raw: bytes) -> None:
    assert facts(split(raw, list(range(len(raw))))) == facts(list(iter_events(raw)))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends(end: bytes) -> None:
    raw = end.join([b'data: {"a":1}', b"", b": note", b"data: x", b"data:y", b"", b"data: [DONE]", b"", b""])
    chunks = list(iter_events(raw))
    assert [chunk.data for chunk in chunks] == [b'{"a":1}', b"x\ny", b"[DONE]"]
    assert chunks[-1].is_done and all(chunk.whole for chunk in chunks)


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b": comment\n\n", None),
        (b"event: ping\n\n", None),
        (b"data\n\n", b""),
        (b"data:\n\n", b""),
        (b"data:  two spaces\n\n", b" two spaces"),
        (b"database: x\n\n", None),
        (BOM + b"data: x\n\n", b"x"),
        (b"\n", None),
        ("data: 你\n\n".encode(), "你".encode()),
    ],
)
def test_fields(raw: bytes, data: bytes | None) -> None:
    assert facts(list(iter_events(raw))) == [(raw, data, True)]


def test_only_the_first_event_may_have_a_byte_order_mark() -> None:
    assert [chunk.data for chunk in iter_events(b"data: a\n\n" + BOM + b"data: b\n\n")] == [b"a", None]


def test_a_stream_cut_anywhere_ends_in_a_chunk_that_is_not_whole() -> None:
    raw = b'data: {"a":1}\n\ndata: [DONE]\n\n'
    for cut in range(1, len(raw)):
        chunks = list(iter_events(raw[:cut]))
        assert not any(chunk.is_done for chunk in chunks)
        assert chunks[-1].whole is (cut == raw.index(b"data: [DONE]"))


def test_an_event_comes_out_with_the_byte_that_ends_it() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: a\n") == []
    (chunk,) = splitter.feed(b"\ndata: b")
    assert (chunk.data, splitter.pending) == (b"a", 7)

"""Bytes -> server-sent events, and not one byte lost: the chunks' `raw`, joined, are the bytes that were fed.

An incremental splitter after the WHATWG event stream grammar (LF, CRLF and CR, comments, several `data` lines, one leading
byte order mark). It deliberately does not decode UTF-8: line ends and field names are ASCII, so a character split between two
reads is whole again in the event. No sockets here, so one copy serves the gateway, the store and every test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stillhouse.chat import Chunk

BOM = b"\xef\xbb\xbf"

# Two line ends in a row: the end of an event. Atomic, so that a CRLF is never taken for CR and then LF.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_OVERLAP = 3  # _BLANK_LINE matches at most four bytes: what of it may lie before the newest bytes


class EventSplitter:
    """Takes the bytes of one stream as they come and gives its events as soon as each is whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()  # grows in place: an event may be long, and come in many parts
        self._searched = 0  # no event ends before here
        self._first = True  # the next event is the stream's first: it may begin with a byte order mark

    @property
    def pending(self) -> int:
        """Bytes held back because their event has not ended yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Chunk]:
        """The events that `data` completes. The same events whatever the chunking."""
        self._buffer += data
        return self._split(at_end=False)

    def end(self) -> Chunk | None:
        """What is left when the stream has ended: a whole event if only a lone CR kept it open, else one that was cut off."""
        for chunk in self._split(at_end=True):
            return chunk
        rest = bytes(self._buffer)
        self._buffer.clear()
        return Chunk(rest, None, whole=False) if rest else None

    def _split(self, *, at_end: bool) -> list[Chunk]:
        buffer, start, events = self._buffer, 0, []
        while (end := self._event_end(buffer, start, at_end=at_end)) is not None:
            raw = bytes(buffer[start:end])
            events.append(Chunk(raw, event_data(raw.removeprefix(BOM) if self._first else raw)))
            start, self._searched, self._first = end, end, False
        del buffer[:start]
        self._searched = max(0, len(self._buffer) - _OVERLAP)
        return events

    def _event_end(self, buffer: bytearray, start: int, *, at_end: bool) -> int | None:
        """Where the event that begins at `start` ends; None while it has not, or while a final CR may still become a CRLF."""
        skip = len(BOM) if self._first and buffer.startswith(BOM, start) else 0
        found = _LINE_END.match(buffer, start + skip) or _BLANK_LINE.search(buffer, max(start, self._searched))
        if found is None:
            return None
        end = found.end()
        undecided = end == len(buffer) and buffer[end - 1] == 0x0D
        return None if undecided and not at_end else end


def event_data(event: bytes) -> bytes | None:
    """What one whole event carries: its `data` lines joined by LF; None when it has none (a comment, a lone `event:`)."""
    if event.startswith(b"data: {") and event.endswith(b"}\n\n") and event.count(b"\n") == 2 and b"\r" not in event:
        return event[6:-2]  # as every server writes it
    values = [_value(line) for line in _LINE_END.split(event) if line == b"data" or line.startswith(b"data:")]
    return b"\n".join(values) if values else None


def _value(line: bytes) -> bytes:
    return line[5:].removeprefix(b" ")


def iter_events(raw: bytes) -> Iterator[Chunk]:
    """The events of a whole recorded stream; the last has `whole=False` if the recording breaks off inside it."""
    splitter = EventSplitter()
    yield from splitter.feed(raw)
    if (rest := splitter.end()) is not None:
        yield rest

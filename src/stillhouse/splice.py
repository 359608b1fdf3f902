"""Replace one top-level value in a JSON object without touching any other byte.

The gateway passes on what it received; the two things it must change (a stored response's `id`, an alias's `model`) are
spliced into the bytes, so that number formats, key order, white space and unknown fields stay as they came.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s"{}\[\],:]+', re.DOTALL)


def replace_value(raw: bytes, key: str, value: bytes) -> bytes:
    """`raw`, a JSON object, with the top-level `key` set to the JSON text `value`; put first if it was not there.

    Raises ValueError when `raw` is not a JSON object.
    """
    span = find_value(raw, key)
    if span is not None:
        return raw[: span[0]] + value + raw[span[1] :]
    start = raw.find(b"{")
    if start < 0:
        raise ValueError(f"expected a JSON object, got {raw[:40]!r}")
    empty = raw[start + 1 :].lstrip().startswith(b"}")
    return raw[: start + 1] + b'"' + key.encode() + b'":' + value + (b"" if empty else b",") + raw[start + 1 :]


def find_value(raw: bytes, key: str) -> tuple[int, int] | None:
    """Start and end of the last top-level value of `key` that is a string, number or literal, or None.

    The last one, because that is the one JSON parsers keep when a key stands twice.
    """
    wanted = b'"' + key.encode() + b'"'
    depth, expects_value, found = 0, False, None
    for token in _TOKEN.finditer(raw):
        first = raw[token.start()]
        if first in b"{[":
            depth += 1
            expects_value = False
        elif first in b"}]":
            depth -= 1
        elif expects_value:
            found, expects_value = token.span(), False
        elif depth == 1 and token[0] == wanted and _is_key(raw, token.end()):
            expects_value = True
    return found


def _is_key(raw: bytes, end: int) -> bool:
    while end < len(raw) and raw[end] in b" \t\r\n":
        end += 1
    return end < len(raw) and raw[end] == 0x3A

"""Identifiers: UUIDv7 (RFC 9562), so that ids sort by creation, in any process and without a counter.

Inside one process they never go backwards, whatever the wall clock does: an id is the order of creation.
"""

from __future__ import annotations

import os
import re
import threading
import time

_lock = threading.Lock()
_last = 0
_OURS = re.compile(r"[-_]([0-9a-f]{12})7[0-9a-f]{19}\Z")
_STEP_BITS = 12  # rand_a, used as a sub-millisecond sequence (RFC 9562, method 1)


def uuid7_hex() -> str:
    """32 hex digits of a UUIDv7, greater than every earlier one of this process."""
    global _last
    with _lock:
        now = time.time_ns() // 1_000_000 << _STEP_BITS
        _last = max(now, _last + 1)
        tick = _last
    milliseconds, step = tick >> _STEP_BITS, tick & ((1 << _STEP_BITS) - 1)
    random = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    value = (milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76 | step << 64 | 0b10 << 62 | random
    return f"{value:032x}"


def advance_past(identifier: str) -> None:
    """Make every later id greater than `identifier` (the newest in the store), though the clock went back meanwhile."""
    global _last
    value = int(identifier.rsplit("-", 1)[-1], 16)
    tick = (value >> 80) << _STEP_BITS | (value >> 64) & ((1 << _STEP_BITS) - 1)
    with _lock:
        _last = max(_last, tick)


def second_of(identifier: str) -> int | None:
    """When an id of ours was made, in seconds since the epoch; None for one that is not."""
    found = _OURS.search(identifier)
    return None if found is None else int(found[1], 16) // 1000


def new_id(prefix: str) -> str:
    """`prefix-` and a UUIDv7, e.g. `chatcmpl-0198...`, `run-0198...`."""
    return f"{prefix}-{uuid7_hex()}"

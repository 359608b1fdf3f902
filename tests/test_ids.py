"""Ids sort by creation, whatever the clock does."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from stillhouse import ids


def test_ids_are_unique_and_grow() -> None:
    made = [ids.new_id("chatcmpl") for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_are_uuid7() -> None:
    digits = ids.uuid7_hex()
    assert len(digits) == 32
    assert digits[12] == "7"
    assert digits[16] in "89ab"


def test_threads_never_share_one() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: ids.uuid7_hex(), range(4_000)))
    assert len(set(made)) == len(made)


def test_a_clock_that_goes_back_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ids.uuid7_hex()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert ids.uuid7_hex() > before


def test_advance_past_the_newest_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_last", 0)
    future = "chatcmpl-" + f"{(time.time_ns() // 1_000_000 + 86_400_000) << 80 | 7 << 76 | 2 << 62:032x}"
    ids.advance_past(future)
    assert ids.new_id("chatcmpl") > future

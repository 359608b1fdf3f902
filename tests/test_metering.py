"""Counts are added up, written, and kept for later when the store cannot take them."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import cast

from stillhouse.chat import Usage
from stillhouse.errors import StoreError
from stillhouse.metering import Meter
from stillhouse.settings import Settings
from stillhouse.stores.base import CompletionStore, UsageCount
from stillhouse.stores.opening import open_store


async def test_counts_add_up_by_model_and_whether_stored(tmp_path: Path) -> None:
    store = open_store(Settings(data_dir=tmp_path), role="server")
    meter = Meter(store)
    for _ in range(3):
        meter.count("up", "m", stored=True, failed=False, usage=Usage(2, 5))
    meter.count("up", "m", stored=False, failed=True, usage=Usage())
    await meter.flush()
    meter.count("up", "m", stored=True, failed=False, usage=Usage(1, None))
    await meter.flush()
    await meter.flush()
    rows = {row.stored: row for row in store.usage()}
    store.close()
    assert (rows[True].requests, rows[True].prompt_tokens, rows[True].completion_tokens) == (4, 7, 15)
    assert (rows[False].requests, rows[False].failed) == (1, 1)


async def test_what_cannot_be_written_is_written_later(tmp_path: Path) -> None:
    store = open_store(Settings(data_dir=tmp_path), role="server")
    meter = Meter(cast("CompletionStore", Full(store)))
    meter.count("up", "m", stored=True, failed=False, usage=Usage(1, 1))
    await meter.flush()
    assert store.usage() == []
    meter.count("up", "m", stored=True, failed=False, usage=Usage(1, 1))
    await meter.flush()
    assert store.usage()[0].requests == 2
    store.close()


class Full:
    """A store whose disk is full, once."""

    def __init__(self, store: CompletionStore) -> None:
        self._store = store
        self._full = True

    def count_usage(self, count: UsageCount) -> Future[None]:
        if not self._full:
            return self._store.count_usage(count)
        self._full = False
        refused: Future[None] = Future()
        refused.set_exception(StoreError("disk full"))
        return refused

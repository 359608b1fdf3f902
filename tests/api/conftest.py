"""An application on a store of its own, with a fake upstream behind the model `gpt-4o`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from stillhouse.app import App
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from stillhouse.stores.remote import apply_remote_writes
from stillhouse.stores.sql import SqlStore
from stillhouse.upstream import Timeouts, Upstream
from tests.fakes.asgi import running
from tests.fakes.upstream import FakeUpstream

TOKEN = "the-servers-token"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, max_body_bytes=10_000)


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlStore]:
    store = open_store(settings, role="server")
    yield store
    store.close()


@pytest.fixture
def upstream(store: SqlStore) -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        timeouts = Timeouts(connect=2, first_byte=0.5, idle=0.5)
        store.put_upstream(Upstream(name="fake", base_url=upstream.base_url, models=("gpt-4o",), timeouts=timeouts)).result()
        yield upstream


@pytest.fixture
async def app(settings: Settings, store: SqlStore, upstream: FakeUpstream) -> AsyncIterator[App]:
    async with running(App(store, settings, apply_writes=partial(apply_remote_writes, store), token=TOKEN)) as app:
        yield app

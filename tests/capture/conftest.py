"""A store of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.settings import Settings
from stillhouse.stores.base import Store
from stillhouse.stores.opening import open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(Settings(data_dir=tmp_path), role="server")
    yield store
    store.close()

"""Fixtures of the store's tests: a data folder, and a store in every way it can be opened."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from stillhouse.stores.sql import SqlStore
from tests.stores.samples import live_server, settings_in


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: each test begins with a copy."""
    settings = settings_in(tmp_path_factory.mktemp("empty"))
    open_store(settings).close()
    return settings.database


@pytest.fixture
def settings(tmp_path: Path, empty_database: Path) -> Settings:
    settings = settings_in(tmp_path / "data")
    settings.data_dir.mkdir()
    shutil.copyfile(empty_database, settings.database)
    return settings


@pytest.fixture(params=["server", "command", "worker", "through a live server"])
def store(request: pytest.FixtureRequest, settings: Settings) -> Iterator[SqlStore]:
    """The same promises, whoever opens the store."""
    if request.param == "through a live server":
        with live_server(settings):
            opened = open_store(settings, role="command")
            yield opened
            opened.close()
    else:
        opened = open_store(settings, role=request.param)
        yield opened
        opened.close()

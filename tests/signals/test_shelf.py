from __future__ import annotations

from pathlib import Path

import pytest

from stillhouse.errors import NotFoundError
from stillhouse.signals import caches, remove_cache
from stillhouse.signals.shelf import cache_folder
from tests.signals.said import key, write


def test_caches_are_listed_and_taken_away(tmp_path: Path) -> None:
    assert caches(tmp_path / "absent") == []
    folders = {write(tmp_path, tier, [2, 3]).name: tier for tier in ("hidden", "top_k")}
    (tmp_path / "something else").mkdir()
    found = caches(tmp_path)
    assert {cached.name: cached.key and cached.key.tier for cached in found} == folders
    assert all(cached.bytes == sum(p.stat().st_size for p in (tmp_path / cached.name).iterdir()) for cached in found)
    name = key("hidden").name
    assert cache_folder(tmp_path, name[:8]) == tmp_path / name
    assert remove_cache(tmp_path, name[:8]) == name
    assert [cached.name for cached in caches(tmp_path)] == [key("top_k").name]


@pytest.mark.parametrize("name", ["", "..", "absent", "../x"])
def test_a_cache_that_is_not_there_is_said_so(tmp_path: Path, name: str) -> None:
    write(tmp_path, "hidden", [2])
    with pytest.raises(NotFoundError, match="There is no teacher's cache.*signals list"):
        remove_cache(tmp_path, name)


def test_a_cache_whose_description_is_broken_is_listed_and_can_be_taken_away(tmp_path: Path) -> None:
    folder = write(tmp_path, "hidden", [2])
    (folder / "cache.json").write_text("{}")
    [cached] = caches(tmp_path)
    assert cached.key is None
    remove_cache(tmp_path, cached.name)
    assert caches(tmp_path) == []

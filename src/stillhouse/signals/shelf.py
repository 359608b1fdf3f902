"""All caches of a folder: listing them, taking one away. What is in one is `reading.py`'s."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from stillhouse.errors import NotFoundError, StoreError
from stillhouse.records import Record
from stillhouse.signals.folder import DESCRIPTION, description
from stillhouse.signals.key import Key

_NAME = re.compile(r"[0-9a-f]{32}")


class Cached(Record):
    """A cache, as a list shows it. Nothing but its description was read."""

    name: str
    key: Key | None
    """None: its description cannot be read; building it again mends it."""
    bytes: int
    used: int
    """Seconds since the epoch: when it was last written."""


def caches(root: Path) -> list[Cached]:
    """Every cache below `root`, the newest first."""
    folders = [path for path in root.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()] if root.is_dir() else []
    return sorted((_summary(folder) for folder in folders), key=lambda cached: (-cached.used, cached.name))


def cache_folder(root: Path, name: str) -> Path:
    """The folder of the cache whose name begins with `name`. Raises NotFoundError for none, and for more than one."""
    found = [cached.name for cached in caches(root) if name and cached.name.startswith(name)]
    if len(found) != 1:
        what = "There is no teacher's cache" if not found else "There is more than one teacher's cache whose name begins with"
        raise NotFoundError(f"{what} '{name}'. See what there is with: stillhouse signals list")
    return root / found[0]


def remove_cache(root: Path, name: str) -> str:
    """Remove it, its description first, so that what a crash leaves is no cache. Returns its name. Raises as `cache_folder`."""
    folder = cache_folder(root, name)
    (folder / DESCRIPTION).unlink(missing_ok=True)
    shutil.rmtree(folder)
    return folder.name


def _summary(folder: Path) -> Cached:
    try:
        key = description(folder).key
    except (NotFoundError, StoreError):
        key = None
    facts = [path.stat() for path in folder.iterdir() if path.is_file()]
    used = max((fact.st_mtime for fact in facts), default=0.0)
    return Cached(name=folder.name, key=key, bytes=sum(fact.st_size for fact in facts), used=int(used))

"""A folder that appears whole or not at all: written beside its place, fsynced, renamed, the parent fsynced.

Its manifest is written last, with the sha256 of every other file, so that a torn copy is told from a whole one too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stillhouse.ids import uuid7_hex

_DRAFT = ".draft-"


@contextmanager
def whole_folder(place: Path) -> Iterator[Path]:
    """Yields an empty folder to fill; it becomes `place` when the block ends well, and is removed when it does not."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f"{_DRAFT}{place.name}-{uuid7_hex()}")
    draft.mkdir()
    try:
        yield draft
        for path in (*sorted(draft.rglob("*")), draft):
            _sync(path)
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _sync(place.parent)


def remove_drafts(parent: Path) -> None:
    """Remove what killed processes left beside finished folders."""
    for draft in parent.glob(f"{_DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes_of(folder: Path) -> dict[str, str]:
    """Path within `folder` -> sha256, of every file in it."""
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

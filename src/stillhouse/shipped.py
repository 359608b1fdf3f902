"""The models that come with the package, by name: `builtin:NAME`."""

from __future__ import annotations

from pathlib import Path

from stillhouse.artifacts import MANIFEST
from stillhouse.errors import NotFoundError

BUILTIN = "builtin:"
"""Prefix of their names, e.g. `builtin:teacher`."""
ASSETS = Path(__file__).parent / "assets"


def builtin_folder(name: str) -> Path:
    """The folder of one, or of a tokenizer that comes along. `name` is looked up, never a path. Raises NotFoundError."""
    folders = {folder.name: folder for folder in ASSETS.iterdir() if folder.is_dir()} if ASSETS.is_dir() else {}
    if name not in folders:
        raise NotFoundError(f"There is no builtin model '{name}'. There are: {', '.join(sorted(folders)) or 'none'}.")
    return folders[name]


def builtin_models() -> list[Path]:
    """The folders of those that answer."""
    return sorted(path.parent for path in ASSETS.glob(f"*/{MANIFEST}"))

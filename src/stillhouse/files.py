"""Files that are whole or absent: written beside, fsynced, renamed; named by their content, or finished by a manifest.

A name given by a person never becomes a path here: content-addressed names are checked to be hex, folders are the caller's.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from stillhouse.errors import NotFoundError, StoreError

_CHUNK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hex, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomic(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Readers see the old content or the new, never a part; on return it survives a power cut.

    Raises StoreError when it cannot be written; then the old content stands.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as exc:
        beside.unlink(missing_ok=True)
        raise StoreError(f"Cannot write {path}: {exc.strerror or exc}.") from exc


def sync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def finish_directory(folder: Path, manifest: str, content: bytes) -> None:
    """Fsync every file below `folder`, then write its manifest: whoever finds the manifest finds whole files."""
    folders = [folder]
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            folders.append(path)
        elif path.is_file():
            _sync_file(path)
    for each in reversed(folders):
        sync_folder(each)
    write_atomic(folder / manifest, content)
    sync_folder(folder.parent)


def write_directory(folder: Path, files: Mapping[str, bytes], manifest: str, content: bytes) -> None:
    """A folder of `files` (plain names), its manifest last. Raises StoreError; a folder without manifest may be left."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        if Path(name).name != name or name in ("..", manifest):
            raise ValueError(f"expected a plain file name other than the manifest's, got {name!r}")
        write_atomic(folder / name, data)
    finish_directory(folder, manifest, content)


def verify_directory(folder: Path, hashes: Mapping[str, str]) -> None:
    """Check every file against its sha256. Raises StoreError that names the first that is missing or altered."""
    for name, expected in hashes.items():
        path = folder / name
        if not path.is_file():
            raise StoreError(f"{path} is missing. Its manifest names it: the folder was damaged after it was finished.")
        found = hash_file(path)
        if found != expected.removeprefix("sha256:"):
            raise StoreError(f"{path} was altered: its sha256 is {found}, the manifest says {expected}.")


class Files:
    """Content-addressed files: `put` twice is one file, and what is read is what was put."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, data: bytes) -> str:
        """Keep `data`; returns its name, the sha256 in hex. Raises StoreError."""
        name = hashlib.sha256(data).hexdigest()
        path = self._path(name)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data)
            sync_folder(self._root)
        return name

    def get(self, name: str) -> bytes:
        """The bytes put under `name`, verified. Raises NotFoundError, StoreError when they were altered."""
        path = self._path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"There is no file {name}.") from None
        if hashlib.sha256(data).hexdigest() != name.removeprefix("sha256:"):
            raise StoreError(f"{path} was altered: its content is not what its name says.")
        return data

    def __contains__(self, name: str) -> bool:
        return self._path(name).is_file()

    def _path(self, name: str) -> Path:
        digest = name.removeprefix("sha256:")
        if not _SHA256.fullmatch(digest):
            raise NotFoundError(f"There is no file {name!r}: expected the 64 hex digits of a SHA-256.")
        return self._root / digest[:2] / digest


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

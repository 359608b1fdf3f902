"""Files and folders that are whole or absent: written beside, fsynced, renamed; named by content, or finished by a manifest.

A name given by a person never becomes a path here: content-addressed names are checked to be hex, folders are the caller's.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from stillhouse.errors import NotFoundError, StoreError

_DRAFT = ".draft-"
_INCOMING = "incoming"
_SHA256 = re.compile(r"[0-9a-f]{64}")


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    _sync_below(folder)
    write_atomic(folder / manifest, content)
    sync_folder(folder.parent)


@contextmanager
def whole_folder(place: Path) -> Iterator[Path]:
    """Yields an empty folder to fill; it becomes `place` when the block ends well, and is removed when it does not.

    On return it survives a power cut. Raises OSError, also where `place` holds something already.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f"{_DRAFT}{place.name}-{secrets.token_hex(6)}")
    draft.mkdir()
    try:
        yield draft
        _sync_below(draft)
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    sync_folder(place.parent)


def remove_drafts(parent: Path) -> None:
    """Remove what killed processes left beside whole folders. Only where no other process writes one."""
    for draft in parent.glob(f"{_DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)


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

    def draft(self) -> Draft:
        """A new file, to be written piece by piece. Raises StoreError."""
        return Draft(self._root)

    def path(self, name: str) -> Path:
        """Where `name` lies, for reading. Raises NotFoundError."""
        path = self._path(name)
        if not path.is_file():
            raise NotFoundError(f"There is no file {name}.")
        return path

    def names(self) -> Iterator[str]:
        """Every file's name."""
        return (path.name for path in self._root.glob("??/*") if _SHA256.fullmatch(path.name))

    def drop(self, names: Iterable[str], wanted: Callable[[], Container[str]]) -> None:
        """Remove files for good, except those that a draft keeps at this moment and those in `wanted()`.

        `wanted` is asked once no draft holds them any more: what a draft kept is written down elsewhere before it lets go.
        """
        with _guarded(self._root), ExitStack() as unheld:
            free = [name for name in names if _enter_unheld(unheld, self._path(name))]
            still = wanted()
            for name in free:
                if name not in still:
                    self._path(name).unlink()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """For whoever puts files and writes down elsewhere that they are there: one process and thread at a time.

        Within it, a file that nothing names is nobody's. The lock dies with its holder.
        """
        with _locked(self._root / ".changing"):
            yield

    def remove_drafts(self) -> None:
        """Remove what killed processes left half-written. Drafts that are being written stay."""
        with _guarded(self._root), ExitStack() as unheld:
            for path in (self._root / _INCOMING).glob("*"):
                if _enter_unheld(unheld, path):
                    path.unlink()

    def __contains__(self, name: str) -> bool:
        return self._path(name).is_file()

    def _path(self, name: str) -> Path:
        digest = name.removeprefix("sha256:")
        if not _SHA256.fullmatch(digest):
            raise NotFoundError(f"There is no file {name!r}: expected the 64 hex digits of a SHA-256.")
        return _place(self._root, digest)


class Draft:
    """A file on its way into `Files`: written piece by piece, then kept whole or gone. Use it in a `with` block.

    What it kept cannot be removed before the block ends, so there is time to write down elsewhere that it is there. The lock
    that says so dies with the process: what a killed one left is found by `remove_drafts`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / _INCOMING / secrets.token_hex(12)
        self._digest = hashlib.sha256()
        self._kept = False
        self.size = 0
        """Bytes written so far."""
        with _as_store_error(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with _guarded(root):
                self._file: BinaryIO = self._path.open("xb")
                fcntl.flock(self._file, fcntl.LOCK_SH)

    def write(self, data: bytes) -> None:
        """Append. Raises StoreError."""
        with _as_store_error(self._path):
            self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    def keep(self) -> str:
        """Make it a file of its folder; returns its name, the sha256 in hex, once it survives a power cut. Raises StoreError."""
        name = self._digest.hexdigest()
        place = _place(self._root, name)
        with _as_store_error(place):
            self._file.flush()
            os.fsync(self._file.fileno())
            with _guarded(self._root):
                place.parent.mkdir(exist_ok=True)
                if place.is_file() and place.stat().st_size == self.size:
                    self._hold_instead(place)
                else:
                    self._path.rename(place)
                self._kept = True
            sync_folder(place.parent)
            sync_folder(self._root)
        return name

    def _hold_instead(self, place: Path) -> None:
        """The same bytes lie there already: keep those from being removed, and let go of ours."""
        there = place.open("rb")
        fcntl.flock(there, fcntl.LOCK_SH)  # free: whoever locks it otherwise is within the guard
        self._path.unlink()
        self._file.close()
        self._file = there

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._kept:
            self._path.unlink(missing_ok=True)
        with suppress(OSError):  # bytes that were not written yet, of a file that is gone
            self._file.close()


def _place(root: Path, digest: str) -> Path:
    return root / digest[:2] / digest


def _enter_unheld(stack: ExitStack, path: Path) -> bool:
    """Whether the file is there and no draft holds it. Within the guard, nobody begins to hold it before the stack is left."""
    try:
        file = stack.enter_context(path.open("rb"))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):
        return False
    return True


@contextmanager
def _guarded(root: Path) -> Iterator[None]:
    """One process and thread at a time, for as long as names change."""
    with _locked(root / ".lock"):
        yield


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _as_store_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StoreError(f"Cannot write {path}: {exc.strerror or exc}.") from exc


def _sync_below(folder: Path) -> None:
    """Every file below `folder`, then every folder, the innermost first."""
    folders = [folder]
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            folders.append(path)
        elif path.is_file():
            _sync_file(path)
    for each in reversed(folders):
        sync_folder(each)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

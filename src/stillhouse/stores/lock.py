"""One process writes a database: the lock it holds, and the note by which a live server says where to send writes instead.

The lock is the kernel's (`flock`), so it dies with its holder; the note is only a hint and is believed only while somebody holds
the lock. No waiting for a lock forever: whoever waits says for how long.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from stillhouse.files import write_atomic
from stillhouse.records import Record

LOCK_NAME = "stillhouse.lock"
NOTE_NAME = "server.json"
_POLL_SECONDS = 0.02


class ServerNote(Record):
    """Where the live server takes writes."""

    pid: int
    url: str
    token: str
    """Random, this server's lifetime long; whoever can read the file (0600) may write."""


class DatabaseLock:
    """The right to write the database in `folder`, held or not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / LOCK_NAME
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def acquire(self) -> bool:
        """Take it if nobody has it. Never waits."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        with suppress(OSError):  # who holds it is for messages only: a full disk must not keep a lock that nobody can give back
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return True

    def acquire_within(self, seconds: float) -> bool:
        """Take it, trying for so long."""
        deadline = time.monotonic() + seconds
        while not self.acquire():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def holder(self) -> str:
        """Who seems to hold it, for a message."""
        try:
            return f"process {int(self._path.read_text())}"
        except (OSError, ValueError):
            return "another process"


def publish_server(folder: Path, url: str) -> str:
    """Leave the note that the server at `url` takes writes; the returned token is what requests must carry."""
    token = secrets.token_urlsafe(32)
    note = ServerNote(pid=os.getpid(), url=url, token=token)
    write_atomic(folder / NOTE_NAME, note.json_bytes(), mode=0o600)
    return token


def withdraw_server(folder: Path) -> None:
    """Take the note away; before the lock is released."""
    (folder / NOTE_NAME).unlink(missing_ok=True)


def server_is_live(folder: Path) -> bool:
    """Whether a server has this folder now: it left its note, and it holds the lock."""
    note = published_server(folder)
    if note is None:
        return False
    lock = DatabaseLock(folder)
    free = lock.acquire()
    lock.release()
    return not free and lock.holder() == f"process {note.pid}"


def published_server(folder: Path) -> ServerNote | None:
    """The note, if there is one to read. Its writer may be dead: only a held lock makes it worth a try."""
    try:
        return ServerNote.model_validate_json((folder / NOTE_NAME).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None

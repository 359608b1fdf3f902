"""Writes of a process that is not the server: through the live server while there is one, else under the lock.

Which of the two is found out anew for every group, because a server may start or die while a training run or a command goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from stillhouse.errors import StoreBusyError
from stillhouse.stores.local import LocalBackend
from stillhouse.stores.lock import DatabaseLock, published_server
from stillhouse.stores.remote import RemoteServer, ServerGoneError
from stillhouse.stores.writer import Outcome, Write

_POLL_SECONDS = 0.05


class SharedBackend:
    """`keeps_lock`: a short command keeps the lock once it has it; a long worker gives it back after each group.

    Tries for `patience` seconds, then refuses the group with StoreBusyError.
    """

    def __init__(self, lock: DatabaseLock, open_local: Callable[[], LocalBackend], *, keeps_lock: bool, patience: float) -> None:
        self._lock = lock
        self._open_local = open_local
        self._keeps_lock = keeps_lock
        self._patience = patience
        self._local: LocalBackend | None = None
        self._server: RemoteServer | None = None

    def apply(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        deadline = time.monotonic() + self._patience
        while True:
            outcomes = self._try_local(writes) or self._try_server(writes)
            if outcomes is not None:
                return outcomes
            if time.monotonic() >= deadline:
                return [Outcome(error=self._busy())] * len(writes)
            time.sleep(_POLL_SECONDS)

    def idle(self) -> bool:
        return self._local is not None and self._lock.held and self._local.idle()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._close_local()
        self._lock.release()

    def _try_local(self, writes: Sequence[Write]) -> Sequence[Outcome] | None:
        if not self._lock.acquire():
            return None
        try:
            if self._local is None:
                self._local = self._open_local()
            return self._local.apply(writes)
        finally:
            if not self._keeps_lock:
                self._close_local()
                self._lock.release()

    def _try_server(self, writes: Sequence[Write]) -> Sequence[Outcome] | None:
        note = published_server(self._lock.folder)
        if note is None:
            return None
        if self._server is None or self._server.note != note:
            if self._server is not None:
                self._server.close()
            self._server = RemoteServer(note)
        try:
            return self._server.apply(writes)
        except ServerGoneError:
            return None

    def _close_local(self) -> None:
        if self._local is not None:
            self._local.close()
            self._local = None

    def _busy(self) -> StoreBusyError:
        return StoreBusyError(
            f"{self._lock.holder().capitalize()} is writing to this database and did not finish within {self._patience:g} s. "
            "Wait for it, stop it, or use another --data-dir."
        )

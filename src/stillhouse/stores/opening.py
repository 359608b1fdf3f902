"""Opening a store: the lock, the schema, what a dead server left behind; then the backend that suits the role.

server   holds the lock for as long as it lives; replays the spool, ends what an earlier server left `started`
command  a short command: writes through the live server, else takes the lock at its first write and keeps it
worker   a long one (training): takes the lock for each group of writes only, so that a server can start meanwhile

Reading needs no lock, so a command that only reads never waits.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Literal

from sqlalchemy.exc import SQLAlchemyError

from stillhouse import ids
from stillhouse.errors import StoreBusyError, StoreError
from stillhouse.ids import uuid7_hex
from stillhouse.settings import Settings
from stillhouse.stores import migrations
from stillhouse.stores.dialects import Dialect, SQLite
from stillhouse.stores.local import LocalBackend
from stillhouse.stores.lock import DatabaseLock, withdraw_server
from stillhouse.stores.shared import SharedBackend
from stillhouse.stores.spool import Spool
from stillhouse.stores.sql import SqlStore

Role = Literal["server", "command", "worker"]
PATIENCE = {"server": 10.0, "command": 10.0, "worker": 120.0}
"""Seconds to wait for somebody else's lock."""
REMEMBER_SECONDS = 7 * 86_400.0
"""How long the id of a write that may be sent twice is remembered."""

_OUR_ID = re.compile(r"chatcmpl-[0-9a-f]{12}7[0-9a-f]{19}")


def open_store(
    settings: Settings,
    *,
    role: Role = "command",
    patience: float | None = None,
    lock_timeout: float = 5.0,
    on_fatal: Callable[[BaseException], None] | None = None,
) -> SqlStore:
    """Open (or make) the store in `settings.data_dir`.

    `on_fatal` is called, from the writer thread, when an I/O error ends all acknowledging: a server should then exit.
    Raises StoreBusyError when the lock is needed and held for longer than `patience` seconds, SchemaTooNewError, StoreError.
    """
    patience = PATIENCE[role] if patience is None else patience
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StoreError(
            f"Cannot make the data directory {settings.data_dir}: {exc.strerror}. Choose another: --data-dir."
        ) from exc
    dialect = SQLite(settings.database, lock_timeout=lock_timeout)
    lock = DatabaseLock(settings.data_dir)
    try:
        return _open(settings, dialect, lock, role, patience, lock_timeout, on_fatal)
    except BaseException:
        lock.release()
        raise


def _open(
    settings: Settings,
    dialect: Dialect,
    lock: DatabaseLock,
    role: Role,
    patience: float,
    lock_timeout: float,
    on_fatal: Callable[[BaseException], None] | None,
) -> SqlStore:
    def local(on_close: Callable[[], None] | None = None) -> LocalBackend:
        spool = Spool(settings.data_dir / "spool")
        return LocalBackend(dialect, spool, lock_timeout=lock_timeout, on_fatal=on_fatal, on_close=on_close)

    if role == "server":
        _take(lock, patience)
        _migrate(settings, dialect)
        withdraw_server(settings.data_dir)  # a dead server's
        store = SqlStore(dialect, local(lock.release), settings.data_dir, numbered=False)
        _recover(store)
        return store
    if _revision(settings, dialect) != migrations.HEAD:
        _take(lock, patience)
        _migrate(settings, dialect)
        lock.release()
    shared = SharedBackend(lock, local, keeps_lock=role == "command", patience=patience)
    return SqlStore(dialect, shared, settings.data_dir, numbered=True)


def _take(lock: DatabaseLock, patience: float) -> None:
    if not lock.acquire_within(patience):
        raise StoreBusyError(
            f"The database in {lock.folder} is held by {lock.holder()}, for longer than {patience:g} s. "
            "Stop it, or choose another --data-dir."
        )


def _revision(settings: Settings, dialect: Dialect) -> str | None:
    """The schema's revision; None when there is no database yet. Raises SchemaTooNewError."""
    if not settings.database.exists():
        return None
    engine = dialect.readers()
    try:
        with engine.connect() as connection:
            found = migrations.revision(connection)
    except SQLAlchemyError as exc:
        raise StoreError(f"{settings.database} cannot be read as a database: {getattr(exc, 'orig', None) or exc}.") from exc
    finally:
        engine.dispose()
    migrations.check_known(found)
    return found


def _migrate(settings: Settings, dialect: Dialect) -> None:
    """Bring the schema to the newest revision, after a copy of what was there."""
    found = _revision(settings, dialect)
    if found == migrations.HEAD:
        return
    if found is not None:
        backups = settings.data_dir / "backups"
        backups.mkdir(exist_ok=True)
        dialect.backup(backups / f"schema-{found}-{uuid7_hex()}.db")
    engine = dialect.writer()
    try:
        with engine.connect() as connection, connection.begin():
            migrations.upgrade(connection)
    except SQLAlchemyError as exc:
        raise StoreError(f"{settings.database} cannot be brought to schema {migrations.HEAD}: {exc}.") from exc
    finally:
        engine.dispose()


def _recover(store: SqlStore) -> None:
    """What died with an earlier server: its open completions are `interrupted`; ids go on after its newest."""
    try:
        store.submit("interrupt_started", {}).result()  # after the spool's replay, which every group begins with
        forgotten = int((time.time() - REMEMBER_SECONDS) * 1000)
        store.submit("forget_writes", {"before": f"{forgotten:012x}"}).result()
        newest = store.newest_completion()
    except BaseException:
        store.close()
        raise
    if newest is not None and _OUR_ID.fullmatch(newest):
        ids.advance_past(newest)

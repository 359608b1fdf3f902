"""The one place that knows a database's own SQL: connecting, locking, upserts, full text search, backups, what an error means.

`SQLite` is the only one so far. PostgreSQL becomes a second subclass of `Dialect`; nothing else may name a pragma, a conflict
clause or an index type (a test greps for it).
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Integer,
    Select,
    Table,
    create_engine,
    event,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from stillhouse.errors import StoreError
from stillhouse.stores.tables import search_texts

Trouble = Literal["busy", "full", "readonly", "fatal", "row"]
"""What an error means for the store.

busy      another process holds the database: try again, or spool
full      no space: nothing was kept, the database is whole
readonly  not allowed to write
fatal     an I/O error or a corrupt file: whether the last commit is on disk is unknown, so nothing more is acknowledged
row       one row cannot be kept; the others can
"""


class Dialect(ABC):
    """What one database does its own way."""

    name: str

    @abstractmethod
    def writer(self) -> Engine:
        """For the one connection that writes; a transaction takes the write lock at its begin."""

    @abstractmethod
    def readers(self) -> Engine:
        """A pool of connections that cannot write, for any thread."""

    @abstractmethod
    def set_lock_timeout(self, connection: Connection, seconds: float) -> None:
        """How long a begin waits for another process. Outside of transactions only."""

    @abstractmethod
    def upsert(self, table: Table, *, add: frozenset[str] = frozenset()) -> Insert:
        """Insert; on an equal primary key the other columns are replaced, those in `add` are added to."""

    @abstractmethod
    def insert_new(self, table: Table) -> Insert:
        """Insert; a row that is there already is left as it is."""

    @abstractmethod
    def index_texts(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows (completion_id, words) into `search_texts` and its index."""

    @abstractmethod
    def drop_texts(self, connection: Connection, completion_ids: Sequence[str]) -> None:
        """Remove them from `search_texts` and its index; unknown ones are skipped."""

    @abstractmethod
    def matches(self, completion_id: Column[str], phrases: Sequence[Sequence[str]]) -> ColumnElement[bool]:
        """The condition that a completion's text holds every phrase. Phrases are words, never query syntax."""

    @abstractmethod
    def trouble(self, error: BaseException) -> Trouble: ...

    @abstractmethod
    def checkpoint(self, connection: Connection, *, whole: bool = False) -> None:
        """Move what was committed to where readers start from; `whole` at shutdown. Never raises: it is only housekeeping."""

    @abstractmethod
    def backup(self, target: Path) -> None:
        """A consistent copy of the database, fsynced. Raises StoreError."""

    @abstractmethod
    def health(self) -> dict[str, Any]:
        """For `doctor`: version, known bugs, integrity."""


class SQLite(Dialect):
    """One file in WAL mode, `synchronous=FULL`: a commit that returned is on disk.

    The writer alone checkpoints (when idle, and whole at shutdown), never through SQLite's automatic one inside a commit; readers
    open the file read-only, so that closing one never checkpoints either. That also stays clear of the WAL-reset bug of SQLite
    3.7.0-3.51.2 (sqlite.org/wal.html#walresetbug), which needs two connections that write or checkpoint at once.
    """

    name = "sqlite"

    def __init__(self, path: Path, *, lock_timeout: float = 5.0) -> None:
        self.path = path
        self._lock_timeout = lock_timeout

    def writer(self) -> Engine:
        engine = create_engine("sqlite+pysqlite://", creator=self._connect_writer, poolclass=NullPool)
        event.listen(engine, "begin", _begin_immediate)
        return engine

    def readers(self) -> Engine:
        return create_engine(
            "sqlite+pysqlite://", creator=self._connect_reader, poolclass=QueuePool, pool_size=8, max_overflow=24, pool_timeout=30
        )

    def set_lock_timeout(self, connection: Connection, seconds: float) -> None:
        connection.connection.cursor().execute(f"PRAGMA busy_timeout={int(seconds * 1000)}")

    def upsert(self, table: Table, *, add: frozenset[str] = frozenset()) -> Insert:
        return _upsert(table, add)

    def insert_new(self, table: Table) -> Insert:
        return _insert_new(table)

    def index_texts(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            number = connection.execute(search_texts.insert(), dict(row)).inserted_primary_key
            assert number is not None
            connection.execute(_INDEX, {"number": number[0], "words": row["words"]})

    def drop_texts(self, connection: Connection, completion_ids: Sequence[str]) -> None:
        found = select(search_texts.c.number, search_texts.c.words).where(search_texts.c.completion_id.in_(completion_ids))
        for number, words in connection.execute(found).all():
            connection.execute(_UNINDEX, {"number": number, "words": words})
            connection.execute(search_texts.delete().where(search_texts.c.number == number))

    def matches(self, completion_id: Column[str], phrases: Sequence[Sequence[str]]) -> ColumnElement[bool]:
        # Words hold ASCII letters and digits only, so a quoted phrase cannot be closed from inside.
        query = " AND ".join('"' + " ".join(phrase) + '"' for phrase in phrases)
        numbers: Select[int] = (
            select(literal_column("rowid", Integer)).select_from(text("search_index")).where(text("search_index MATCH :phrases"))
        )
        found = select(search_texts.c.completion_id).where(search_texts.c.number.in_(numbers.scalar_subquery()))
        return completion_id.in_(found.params(phrases=query))

    def trouble(self, error: BaseException) -> Trouble:
        origin = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(origin, "sqlite_errorcode", None)
        if code is None:
            return "row"
        return _TROUBLE.get(code & 0xFF, "row")

    def checkpoint(self, connection: Connection, *, whole: bool = False) -> None:
        try:
            connection.connection.cursor().execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if whole else 'PASSIVE'})").fetchall()
        except sqlite3.Error:
            return  # what was committed stays safe in the log; the next commit meets the same trouble and reports it

    def backup(self, target: Path) -> None:
        try:
            with closing(self._connect_reader()) as source, closing(sqlite3.connect(target)) as copy:
                source.backup(copy)
        except sqlite3.Error as exc:
            raise StoreError(f"Cannot copy the database to {target}: {exc}.") from exc

    def health(self) -> dict[str, Any]:
        try:
            with closing(self._connect_reader()) as connection:
                check = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
        except sqlite3.DatabaseError as exc:  # damaged so far that even the check cannot run
            check = [str(exc)]
        return {
            "database": self.name,
            "version": sqlite3.sqlite_version,
            "wal_reset_bug": (3, 7, 0) <= sqlite3.sqlite_version_info < (3, 51, 3),
            "problems": [] if check == ["ok"] else check,
        }

    def _connect_writer(self) -> sqlite3.Connection:
        connection = _connect(self.path, read_only=False, timeout=self._lock_timeout)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten, whatever this SQLite was built with
        return connection

    def _connect_reader(self) -> sqlite3.Connection:
        connection = _connect(self.path, read_only=True, timeout=self._lock_timeout)
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        return connection


def create_search(connection: Connection) -> None:
    """The full text index over `search_texts.words`; for migrations, which have a connection only."""
    if connection.dialect.name != "sqlite":
        raise NotImplementedError(connection.dialect.name)
    options = "content='search_texts', content_rowid='number', tokenize='ascii'"
    connection.execute(text(f"CREATE VIRTUAL TABLE search_index USING fts5(words, {options})"))


_INDEX = text("INSERT INTO search_index (rowid, words) VALUES (:number, :words)")
_UNINDEX = text("INSERT INTO search_index (search_index, rowid, words) VALUES ('delete', :number, :words)")

_TROUBLE: dict[int, Trouble] = {
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "readonly",
    sqlite3.SQLITE_CANTOPEN: "readonly",
    sqlite3.SQLITE_IOERR: "fatal",
    sqlite3.SQLITE_CORRUPT: "fatal",
    sqlite3.SQLITE_NOTADB: "fatal",
}


def _connect(path: Path, *, read_only: bool, timeout: float) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    try:
        # isolation_level None: transactions are ours. The pool hands a connection to one thread at a time.
        return sqlite3.connect(address, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)
    except sqlite3.OperationalError as exc:
        raise StoreError(f"Cannot open the database {path}: {exc}. Check that the folder exists and may be written.") from exc


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@lru_cache
def _upsert(table: Table, add: frozenset[str]) -> Insert:
    statement = sqlite.insert(table)
    rest = [column for column in table.columns if not column.primary_key]
    values: dict[str, ColumnElement[Any]] = {column.name: statement.excluded[column.name] for column in rest}
    for name in add:
        values[name] = table.columns[name] + statement.excluded[name]
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=values)


@lru_cache
def _insert_new(table: Table) -> Insert:
    return sqlite.insert(table).on_conflict_do_nothing()

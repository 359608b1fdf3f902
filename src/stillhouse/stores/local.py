"""Groups of writes applied in this process: one transaction each, a poisoned row failing alone, trouble told apart.

What a group may be kept in when the database is locked by somebody else is the spool: appended, fsynced and acknowledged there,
replayed exactly once later. After an I/O error nothing is acknowledged any more, because nobody can know what is on disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy.exc import DBAPIError

from stillhouse.errors import StillhouseError, StoreBusyError, StoreError
from stillhouse.stores.dialects import Dialect
from stillhouse.stores.spool import Spool
from stillhouse.stores.writer import Outcome, Write
from stillhouse.stores.writes import OPERATIONS, once

log = logging.getLogger(__name__)

INDEX_BATCH = 8
"""Completions indexed between two looks at the queue: a write that comes meanwhile waits for some milliseconds."""
CHECKPOINT_COMMITS = 1000
_BUSY_AGAIN_SECONDS = 0.05  # once somebody else was found to hold the database, others do not wait the full time again


class LocalBackend:
    """The connection that writes. `on_fatal` is called once, when an I/O error ended all acknowledging."""

    def __init__(
        self,
        dialect: Dialect,
        spool: Spool,
        *,
        lock_timeout: float = 5.0,
        on_fatal: Callable[[BaseException], None] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._dialect = dialect
        self._spool = spool
        self._lock_timeout = lock_timeout
        self._on_fatal = on_fatal
        self._on_close = on_close
        self._engine = dialect.writer()
        try:
            self._connection = self._engine.connect()
        except DBAPIError as exc:
            raise StoreError(f"The database cannot be opened for writing: {_reason(exc)}. Check its permissions.") from exc
        self._commits = 0
        self._checkpoint_due = False
        self._index_due = True
        self._others_hold_it = False
        self.fatal: BaseException | None = None

    def apply(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        if self.fatal is not None:
            return [Outcome(error=self._fatal_error())] * len(writes)
        try:
            self.replay_spool()
            outcomes = self._transaction(writes)
        except Exception as exc:
            return self._after(exc, writes)
        self._meet_lock(False)
        self._commits += 1
        if self._commits % CHECKPOINT_COMMITS == 0:  # never idle: the log must not grow for ever
            self._dialect.checkpoint(self._connection)
        self._checkpoint_due = True
        self._index_due = self._index_due or any(write.name == "finish_completion" for write in writes)
        return outcomes

    def idle(self) -> bool:
        if self.fatal is not None:
            return False
        try:
            self.replay_spool()
            if self._index_due:
                with self._connection.begin():
                    taken = OPERATIONS["index_pending"].apply(self._connection, self._dialect, [{"limit": INDEX_BATCH}])[0]
                self._index_due = taken == INDEX_BATCH
                self._checkpoint_due = self._checkpoint_due or taken > 0
                return True
            if self._checkpoint_due:
                self._dialect.checkpoint(self._connection)
                self._checkpoint_due = False
        except Exception as exc:
            self._after(exc, [])
            return self._dialect.trouble(exc) == "busy"
        return False

    def replay_spool(self) -> None:
        """Apply what was kept aside while the database was locked. Raises like any transaction."""
        if not self._spool.waiting:
            return
        with self._connection.begin():
            pass  # raises while somebody else still holds the database, before a segment is touched
        for segment in self._spool.segments():
            writes = [Write(record["name"], record["arguments"], record["id"]) for record in self._spool.read(segment)]
            for write, outcome in zip(writes, self._transaction(writes) if writes else (), strict=True):
                if outcome.error is not None:  # nobody waits for it any more: the log is the only place left to say so
                    log.error("a %s kept in the spool was refused: %s", write.name, outcome.error)
            self._spool.remove(segment)
            log.info("replayed %d writes from the spool", len(writes))

    def close(self) -> None:
        try:
            if self.fatal is None:
                self._dialect.checkpoint(self._connection, whole=True)
            self._connection.close()
            self._engine.dispose()
            self._spool.close()
        finally:
            if self._on_close is not None:
                self._on_close()

    def _transaction(self, writes: Sequence[Write]) -> list[Outcome]:
        try:
            with self._connection.begin():
                return self._run(writes)
        except Exception as exc:
            if self._dialect.trouble(exc) != "row":
                raise
        with self._connection.begin():
            return [self._alone(write) for write in writes]

    def _alone(self, write: Write) -> Outcome:
        """One write of a group that failed as a whole: it fails without the others."""
        try:
            with self._connection.begin_nested():
                return self._run([Write(write.name, _encodable(write.arguments), write.id)])[0]
        except StillhouseError as exc:
            return Outcome(error=exc)
        except Exception as exc:
            if self._dialect.trouble(exc) != "row":
                raise
            error = StoreError(f"This {write.name.replace('_', ' ')} cannot be kept: {_reason(exc)}.")
            error.__cause__ = exc
            return Outcome(error=error)

    def _run(self, writes: Sequence[Write]) -> list[Outcome]:
        known = once.results_of(self._connection, [write.id for write in writes if write.id is not None])
        results: list[Any] = [known.get(write.id) for write in writes]
        first = _first_places(writes)
        for name, places in _plan(writes, known, first):
            values = OPERATIONS[name].apply(self._connection, self._dialect, [writes[place].arguments for place in places])
            for place, value in zip(places, values, strict=True):
                results[place] = value
        results = [results[place] if write.id is None else results[first[write.id]] for place, write in enumerate(writes)]
        numbered = [(write.id, result) for write, result in zip(writes, results, strict=True) if write.id is not None]
        once.remember(self._connection, self._dialect, numbered)
        return [Outcome(value) for value in results]

    def _after(self, error: Exception, writes: Sequence[Write]) -> Sequence[Outcome]:
        trouble = self._dialect.trouble(error)
        if trouble == "busy":
            self._meet_lock(True)
            return [self._keep_aside(write, error) for write in writes]
        if trouble == "fatal":
            self.fatal = error
            log.critical("the database failed (%s): nothing is acknowledged any more", _reason(error))
            if self._on_fatal is not None:
                self._on_fatal(error)
            return [Outcome(error=self._fatal_error())] * len(writes)
        refused = StoreError(f"The database cannot be written: {_reason(error)}. Free some space, or check its permissions.")
        refused.__cause__ = error
        return [Outcome(error=error if isinstance(error, StillhouseError) else refused)] * len(writes)

    def _keep_aside(self, write: Write, error: Exception) -> Outcome:
        if not OPERATIONS[write.name].spools:
            busy = StoreBusyError("Another process has locked the database. Try again when it has finished.")
            busy.__cause__ = error
            return Outcome(error=busy)
        try:
            self._spool.append({"name": write.name, "arguments": write.arguments, "id": write.id or self._spool.new_id()})
        except (OSError, TypeError, ValueError) as exc:
            return Outcome(error=StoreError(f"The database is locked, and the spool cannot be written: {exc}."))
        return Outcome()

    def _meet_lock(self, held_by_others: bool) -> None:
        if held_by_others != self._others_hold_it:
            self._others_hold_it = held_by_others
            self._dialect.set_lock_timeout(self._connection, _BUSY_AGAIN_SECONDS if held_by_others else self._lock_timeout)

    def _fatal_error(self) -> StoreError:
        reason = "" if self.fatal is None else _reason(self.fatal)
        error = StoreError(f"The database failed and nothing is kept any more: {reason}. Check the disk, then restart.")
        error.__cause__ = self.fatal
        return error


def _first_places(writes: Sequence[Write]) -> dict[str, int]:
    """Id -> where it first stands: a write whose sender lost patience may stand in one group twice."""
    first: dict[str, int] = {}
    for place, write in enumerate(writes):
        if write.id is not None:
            first.setdefault(write.id, place)
    return first


def _plan(writes: Sequence[Write], known: dict[str | None, Any], first: dict[str, int]) -> Iterator[tuple[str, list[int]]]:
    """Operation names and the places of their writes: neighbours that commute are gathered by kind, for executemany."""
    gathered: dict[str, list[int]] = {}
    for place, write in enumerate(writes):
        if write.id is not None and (write.id in known or first[write.id] != place):
            continue
        if OPERATIONS[write.name].rank is None:
            yield from _by_rank(gathered)
            gathered = {}
            yield write.name, [place]
        else:
            gathered.setdefault(write.name, []).append(place)
    yield from _by_rank(gathered)


def _by_rank(gathered: dict[str, list[int]]) -> list[tuple[str, list[int]]]:
    return sorted(gathered.items(), key=lambda item: OPERATIONS[item[0]].rank or 0)


def _encodable(value: Any) -> Any:
    """Lone surrogates, which no database can hold, become U+FFFD; the bytes in the payload stay as they came."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    return value


def _reason(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error)

"""Writes about runs: claiming one, changing it, adding what it says. `epoch` fences off whoever lost its claim."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select, update

from stillhouse.errors import NotFoundError, UsageError
from stillhouse.stores.dialects import Dialect
from stillhouse.stores.tables import run_events, runs
from stillhouse.stores.writes.base import Arguments, Operation, each

_CHANGEABLE = frozenset(column.name for column in runs.columns) - {"id", "epoch"}


def _put(connection: Connection, dialect: Dialect, *, run: Arguments) -> None:
    connection.execute(dialect.upsert(runs), run)


def _claim(connection: Connection, dialect: Dialect, *, id: str, pid: int, boot: str, now: float) -> int | None:
    row = connection.execute(select(runs.c.state, runs.c.epoch).where(runs.c.id == id)).first()
    if row is None:
        raise NotFoundError(f"There is no run {id}.")
    if row.state != "queued":
        return None
    claim = {"state": "running", "epoch": row.epoch + 1, "pid": pid, "boot": boot, "heartbeat": now}
    first_start = func.coalesce(runs.c.started, int(now))
    connection.execute(update(runs).where(runs.c.id == id).values(**claim, started=first_start, finished=None, error=None))
    return int(row.epoch) + 1


def _update(
    connection: Connection, dialect: Dialect, *, id: str, epoch: int, changes: dict[str, Any], only: list[str] | None = None
) -> bool:
    unknown = sorted(changes.keys() - _CHANGEABLE)
    if unknown:
        raise UsageError(f"A run has no field {', '.join(unknown)} to change. There are: {', '.join(sorted(_CHANGEABLE))}.")
    if not changes:
        return _holds(connection, id, epoch)
    states = [] if only is None else [runs.c.state.in_(only)]
    held = update(runs).where(runs.c.id == id, runs.c.epoch == epoch, *states)
    return connection.execute(held.values(**changes)).rowcount == 1


def _add_events(connection: Connection, dialect: Dialect, *, events: list[Arguments], epoch: int, now: float) -> bool:
    if not events:
        return True
    run = events[0]["run"]
    if any(item["run"] != run for item in events):
        raise UsageError("Events of several runs cannot be added in one call: each run has its own epoch.")
    if not _holds(connection, run, epoch):
        return False
    connection.execute(dialect.insert_new(run_events), events)
    connection.execute(update(runs).where(runs.c.id == run).values(heartbeat=now))
    return True


def _holds(connection: Connection, run: str, epoch: int) -> bool:
    return connection.execute(select(runs.c.id).where(runs.c.id == run, runs.c.epoch == epoch)).first() is not None


OPERATIONS = {
    "put_run": Operation(each(_put)),
    "claim_run": Operation(each(_claim)),
    "update_run": Operation(each(_update)),
    "add_events": Operation(each(_add_events)),
}

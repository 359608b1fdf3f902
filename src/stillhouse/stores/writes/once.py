"""The memory that makes a write sent twice take effect once: ids and results, recorded with the effect, later forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, or_, select

from stillhouse.stores.dialects import Dialect
from stillhouse.stores.tables import applied_writes
from stillhouse.stores.writes.base import Operation, each

PREFIXES = ("write", "spooled")
"""What the ids begin with; a UUIDv7 follows, so that old ones are a range."""

_APPLIED = select(applied_writes).where(applied_writes.c.id.in_(bindparam("ids", expanding=True)))


def results_of(connection: Connection, ids: Sequence[str]) -> dict[str | None, Any]:
    """The recorded results of those that took effect already."""
    return {row.id: row.result for row in connection.execute(_APPLIED, {"ids": list(ids)})} if ids else {}


def remember(connection: Connection, dialect: Dialect, results: Sequence[tuple[str, Any]]) -> None:
    if results:
        rows = [{"id": key, "result": result} for key, result in results]
        connection.execute(dialect.insert_new(applied_writes), rows)


def _forget(connection: Connection, dialect: Dialect, *, before: str) -> int:
    """`before`: the first 12 hex digits of a UUIDv7, its milliseconds."""
    key = applied_writes.c.id
    old = or_(*(key.between(f"{prefix}-", f"{prefix}-{before}") for prefix in PREFIXES))
    return connection.execute(delete(applied_writes).where(old)).rowcount


OPERATIONS = {"forget_writes": Operation(each(_forget))}

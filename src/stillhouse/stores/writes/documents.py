"""Writes of the small records that are kept whole, as JSON: datasets, artifacts, reports, upstreams, keys, routes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, delete, select

from stillhouse.stores.dialects import Dialect
from stillhouse.stores.tables import artifacts, datasets, keys, reports, routes, upstreams
from stillhouse.stores.writes.base import Arguments, Operation, each


def _put_into(table: Table) -> Operation:
    def put(connection: Connection, dialect: Dialect, **row: Any) -> None:
        connection.execute(dialect.upsert(table), row)

    return Operation(each(put))


def _delete_upstream(connection: Connection, dialect: Dialect, *, name: str) -> bool:
    return connection.execute(delete(upstreams).where(upstreams.c.name == name)).rowcount == 1


def _rollback_route(connection: Connection, dialect: Dialect, *, alias: str) -> Arguments | None:
    newest_first = select(routes).where(routes.c.alias == alias).order_by(routes.c.sequence.desc()).limit(2)
    history = connection.execute(newest_first).all()
    if len(history) < 2:
        return None
    connection.execute(delete(routes).where(routes.c.id == history[0].id))
    earlier: Arguments = history[1].record
    return earlier


OPERATIONS = {
    "put_dataset": _put_into(datasets),
    "put_artifact": _put_into(artifacts),
    "put_report": _put_into(reports),
    "put_upstream": _put_into(upstreams),
    "delete_upstream": Operation(each(_delete_upstream)),
    "put_key": _put_into(keys),
    "put_route": _put_into(routes),
    "rollback_route": Operation(each(_rollback_route)),
}

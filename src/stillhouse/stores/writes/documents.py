"""Writes of the small records that are kept whole, as JSON: datasets, artifacts, upstreams, API resources, ..."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, select, update

from stillhouse.stores.dialects import Dialect
from stillhouse.stores.tables import artifacts, datasets, documents, keys, reports, routes, upstreams
from stillhouse.stores.writes.base import Arguments, Operation, each


def _put_into(table: Table) -> Operation:
    def put(connection: Connection, dialect: Dialect, **row: Any) -> None:
        connection.execute(dialect.upsert(table), row)

    return Operation(each(put))


def _delete_upstream(connection: Connection, dialect: Dialect, *, name: str) -> bool:
    return connection.execute(delete(upstreams).where(upstreams.c.name == name)).rowcount == 1


def _delete_dataset(connection: Connection, dialect: Dialect, *, id: str) -> bool:
    return connection.execute(delete(datasets).where(datasets.c.id == id)).rowcount == 1


def _delete_artifact(connection: Connection, dialect: Dialect, *, id: str) -> bool:
    return connection.execute(delete(artifacts).where(artifacts.c.id == id)).rowcount == 1


def _rollback_route(connection: Connection, dialect: Dialect, *, alias: str) -> Arguments | None:
    newest_first = select(routes).where(routes.c.alias == alias).order_by(routes.c.sequence.desc()).limit(2)
    history = connection.execute(newest_first).all()
    if len(history) < 2:
        return None
    connection.execute(delete(routes).where(routes.c.id == history[0].id))
    earlier: Arguments = history[1].record
    return earlier


def _this(kind: str, id: str) -> ColumnElement[bool]:
    return and_(documents.c.kind == kind, documents.c.id == id)


def _change_document(
    connection: Connection, dialect: Dialect, *, kind: str, id: str, changes: Arguments, expect: dict[str, list[Any]]
) -> Arguments | None:
    record = connection.scalar(select(documents.c.record).where(_this(kind, id)))
    if record is None or any(record.get(field) not in allowed for field, allowed in expect.items()):
        return None
    changed = {**record, **changes}
    connection.execute(update(documents).where(_this(kind, id)).values(record=changed))
    return changed


def _delete_document(connection: Connection, dialect: Dialect, *, kind: str, id: str) -> bool:
    return connection.execute(delete(documents).where(_this(kind, id))).rowcount == 1


OPERATIONS = {
    "put_dataset": _put_into(datasets),
    "delete_dataset": Operation(each(_delete_dataset)),
    "put_artifact": _put_into(artifacts),
    "delete_artifact": Operation(each(_delete_artifact)),
    "put_report": _put_into(reports),
    "put_upstream": _put_into(upstreams),
    "delete_upstream": Operation(each(_delete_upstream)),
    "put_key": _put_into(keys),
    "put_route": _put_into(routes),
    "rollback_route": Operation(each(_rollback_route)),
    "put_document": _put_into(documents),
    "change_document": Operation(each(_change_document)),
    "delete_document": Operation(each(_delete_document)),
}

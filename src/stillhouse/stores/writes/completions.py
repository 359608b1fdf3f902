"""Writes about completions: begin, partial and end (the hot path), metadata and tags, removal, the search index."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Table, bindparam, delete, select, update

from stillhouse.stores.dialects import Dialect
from stillhouse.stores.payloads import PayloadDamagedError, pack, unpack
from stillhouse.stores.search_text import index_words
from stillhouse.stores.tables import (
    completion_metadata,
    completion_tags,
    completions,
    payloads,
    search_pending,
    usage_counts,
)
from stillhouse.stores.writes.base import Arguments, Operation, chunks, each
from stillhouse.transcript import answer_text, prompt_text

_COLUMNS = [column.name for column in completions.columns]
MAX_INDEXED_CHARACTERS = 200_000  # of one completion; past it the index would outweigh what it finds


def _begin(connection: Connection, dialect: Dialect, calls: Sequence[Arguments]) -> list[None]:
    """Calls: {completion: row with metadata and tags, request: bytes}."""
    connection.execute(dialect.insert_new(completions), [_row(call) for call in calls])
    connection.execute(
        dialect.insert_new(payloads),
        [{"completion_id": call["completion"]["id"], "part": "request", "data": pack(call["request"])} for call in calls],
    )
    _insert_labels(connection, dialect, calls)
    return [None] * len(calls)


def _save_partial(connection: Connection, dialect: Dialect, calls: Sequence[Arguments]) -> list[None]:
    """Calls: {id, response}. Kept only while the completion is `started`."""
    states = _states(connection, [call["id"] for call in calls])
    latest = {call["id"]: call["response"] for call in calls if states.get(call["id"]) == "started"}
    _put_responses(connection, dialect, latest)
    return [None] * len(calls)


def _finish(connection: Connection, dialect: Dialect, calls: Sequence[Arguments]) -> list[None]:
    """Calls: {completion, response}. A `complete` row is left alone; one that is not there was deleted, and stays so.

    (Its beginning always comes first: a group runs begins before ends, and the spool is replayed before anything else.)
    """
    states = _states(connection, [call["completion"]["id"] for call in calls])
    open_ = {key for key, state in states.items() if state != "complete"}
    winners: dict[str, Arguments] = {}
    for call in calls:
        completion = call["completion"]
        if completion["id"] in open_:
            winners[completion["id"]] = call
            if completion["state"] == "complete":
                open_.remove(completion["id"])
    if winners:
        connection.execute(dialect.upsert(completions), [_row(call) for call in winners.values()])
        _put_responses(connection, dialect, {key: call["response"] for key, call in winners.items()})
        # Its labels may have been edited since it began: they stay.
        connection.execute(dialect.insert_new(search_pending), [{"completion_id": key} for key in winners])
    return [None] * len(calls)


def _count_usage(connection: Connection, dialect: Dialect, calls: Sequence[Arguments]) -> list[None]:
    added = frozenset({"requests", "failed", "prompt_tokens", "completion_tokens"})
    connection.execute(dialect.upsert(usage_counts, add=added), list(calls))
    return [None] * len(calls)


def _set_metadata(connection: Connection, dialect: Dialect, *, id: str, metadata: dict[str, str]) -> bool:
    """Replaces all of it. False when there is no such completion."""
    if connection.execute(select(completions.c.id).where(completions.c.id == id)).first() is None:
        return False
    connection.execute(delete(completion_metadata).where(completion_metadata.c.completion_id == id))
    _insert(connection, dialect, completion_metadata, _metadata_rows(id, metadata))
    return True


def _tag(connection: Connection, dialect: Dialect, *, ids: list[str], add: list[str], remove: list[str]) -> int:
    """How many of `ids` there are."""
    found = 0
    for chunk in chunks(ids):
        known = connection.scalars(select(completions.c.id).where(completions.c.id.in_(chunk))).all()
        found += len(known)
        unwanted = completion_tags.c.completion_id.in_(known) & completion_tags.c.tag.in_(remove)
        connection.execute(delete(completion_tags).where(unwanted))
        _insert(connection, dialect, completion_tags, [{"completion_id": key, "tag": tag} for key in known for tag in add])
    return found


def _delete(connection: Connection, dialect: Dialect, *, ids: list[str]) -> int:
    removed = 0
    for chunk in chunks(ids):
        dialect.drop_texts(connection, chunk)
        for table in (search_pending, completion_tags, completion_metadata, payloads):
            connection.execute(delete(table).where(table.c.completion_id.in_(chunk)))
        removed += connection.execute(delete(completions).where(completions.c.id.in_(chunk))).rowcount
    return removed


def _interrupt_started(connection: Connection, dialect: Dialect, *, instance: str | None = None) -> int:
    """What a server that has just opened the database does to the rows of those before it, or a run's worker to those of the
    workers before it. How many there were."""
    of_dead = select(completions.c.id).where(completions.c.state == "started")
    started = connection.scalars(of_dead if instance is None else of_dead.where(completions.c.instance == instance)).all()
    for chunk in chunks(started):
        connection.execute(update(completions).where(completions.c.id.in_(chunk)).values(state="interrupted"))
        _insert(connection, dialect, search_pending, [{"completion_id": key} for key in chunk])
    return len(started)


def _index_pending(connection: Connection, dialect: Dialect, *, limit: int) -> int:
    """Index finished completions whose text is not yet in the search index. How many were taken: below `limit`, none is left."""
    ids = connection.scalars(select(search_pending.c.completion_id).order_by(search_pending.c.completion_id).limit(limit)).all()
    if not ids:
        return 0
    streamed = dict(connection.execute(select(completions.c.id, completions.c.stream).where(completions.c.id.in_(ids))).all())
    parts: dict[str, dict[str, bytes]] = {key: {} for key in streamed}
    for key, part, data in connection.execute(select(payloads).where(payloads.c.completion_id.in_(list(parts)))):
        parts[key][part] = _readable(data)
    dialect.drop_texts(connection, ids)
    dialect.index_texts(connection, [{"completion_id": key, "words": _words(parts[key], streamed[key])} for key in parts])
    connection.execute(delete(search_pending).where(search_pending.c.completion_id.in_(ids)))
    return len(ids)


OPERATIONS = {
    "begin_completion": Operation(_begin, rank=0, spools=True),
    "save_partial": Operation(_save_partial, rank=1, spools=True),
    "finish_completion": Operation(_finish, rank=2, spools=True),
    "count_usage": Operation(_count_usage, rank=3, spools=True),
    "set_metadata": Operation(each(_set_metadata)),
    "tag_completions": Operation(each(_tag)),
    "delete_completions": Operation(each(_delete)),
    "interrupt_started": Operation(each(_interrupt_started)),
    "index_pending": Operation(each(_index_pending)),
}


def _row(call: Arguments) -> Arguments:
    completion = call["completion"]
    return {name: completion[name] for name in _COLUMNS}


def _insert_labels(connection: Connection, dialect: Dialect, calls: Sequence[Arguments]) -> None:
    metadata: list[Arguments] = []
    tags: list[Arguments] = []
    for call in calls:
        completion = call["completion"]
        metadata.extend(_metadata_rows(completion["id"], completion["metadata"]))
        tags.extend({"completion_id": completion["id"], "tag": tag} for tag in completion["tags"])
    _insert(connection, dialect, completion_metadata, metadata)
    _insert(connection, dialect, completion_tags, tags)


def _metadata_rows(completion_id: str, metadata: dict[str, str]) -> list[Arguments]:
    return [{"completion_id": completion_id, "key": key, "value": value} for key, value in metadata.items()]


def _insert(connection: Connection, dialect: Dialect, table: Table, rows: list[Arguments]) -> None:
    if rows:
        connection.execute(dialect.insert_new(table), rows)


def _put_responses(connection: Connection, dialect: Dialect, responses: dict[str, bytes]) -> None:
    if responses:
        rows = [{"completion_id": key, "part": "response", "data": pack(data)} for key, data in responses.items()]
        connection.execute(dialect.upsert(payloads), rows)


_STATES = select(completions.c.id, completions.c.state).where(completions.c.id.in_(bindparam("ids", expanding=True)))


def _states(connection: Connection, ids: list[str]) -> dict[str, str]:
    return dict(connection.execute(_STATES, {"ids": ids}).all())


def _readable(data: bytes) -> bytes:
    """A payload that was damaged on disk is not searchable; `payload()` is where it is reported."""
    try:
        return unpack(data)
    except PayloadDamagedError:
        return b""


def _words(parts: dict[str, bytes], stream: bool) -> str:
    said = prompt_text(parts.get("request", b"")) + "\n" + answer_text(parts.get("response", b""), stream)
    return " ".join(index_words(said[:MAX_INDEXED_CHARACTERS]))

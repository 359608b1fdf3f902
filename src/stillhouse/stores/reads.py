"""What a store is asked: lists, lookups, search. Every method may be called from any thread; none can write.

Lists of completions never touch payloads, whatever the filter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, Row, Table, func, or_, select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from stillhouse.artifact import Artifact
from stillhouse.completion import Completion, CompletionQuery
from stillhouse.dataset import Dataset
from stillhouse.document import Document, DocumentQuery
from stillhouse.errors import NotFoundError, StoreError
from stillhouse.grade import Report
from stillhouse.ids import second_of
from stillhouse.keys import Key
from stillhouse.records import Record
from stillhouse.route import Route
from stillhouse.run import Run, RunEvent, RunState
from stillhouse.stores import tables
from stillhouse.stores.base import Page, Payload, UsageCount
from stillhouse.stores.dialects import Dialect
from stillhouse.stores.payloads import PayloadDamagedError, unpack
from stillhouse.stores.search_text import query_phrases
from stillhouse.stores.tables import (
    UNANNOUNCED,
    completion_metadata,
    completion_tags,
    completions,
    documents,
    payloads,
    run_events,
    runs,
)
from stillhouse.stores.writes.base import chunks
from stillhouse.upstream import Upstream

R = TypeVar("R", bound=Record)

NEARBY_SECONDS = 5
"""What an id's own time and the time beside it may differ by."""


class Reads:
    """The reading half of a `SqlStore`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._readers: Engine = dialect.readers()

    def completion(self, completion_id: str) -> Completion | None:
        with self._reading() as connection:
            rows = connection.execute(select(completions).where(completions.c.id == completion_id)).all()
            return next(iter(_completions(connection, rows)), None)

    def payload(self, completion_id: str) -> Payload | None:
        query = select(payloads.c.part, payloads.c.data).where(payloads.c.completion_id == completion_id)
        with self._reading() as connection:
            packed = dict(connection.execute(query).all())
        if "request" not in packed and "response" not in packed:
            return None
        try:
            parts = {part: unpack(data) for part, data in packed.items()}
        except PayloadDamagedError as exc:
            raise StoreError(
                f"The bytes of {completion_id} were altered on disk: {exc}. `stillhouse doctor` checks the rest."
            ) from exc
        return Payload(request=parts.get("request", b""), response=parts.get("response"))

    def find_completions(self, query: CompletionQuery) -> Page[Completion]:
        """The page, from what is indexed so far; `SqlStore.completions` has the rest indexed first."""
        conditions = [*_plain_conditions(query), *_label_conditions(query)]
        if query.text is not None:
            phrases = query_phrases(query.text)
            if not phrases:
                return Page([], has_more=False)
            conditions.append(self._dialect.matches(completions.c.id, phrases))
        newest_first = query.order == "desc"
        if query.after is not None:
            conditions.append(completions.c.id < query.after if newest_first else completions.c.id > query.after)
        order = completions.c.id.desc() if newest_first else completions.c.id.asc()
        with self._reading() as connection:
            rows = connection.execute(select(completions).where(*conditions).order_by(order).limit(query.limit + 1)).all()
            return Page(_completions(connection, rows[: query.limit]), has_more=len(rows) > query.limit)

    def newest_completion(self) -> str | None:
        """The greatest id made here: a UUIDv7's first digit is 0 for some 8,000 years; foreign ids may sort behind."""
        ours = select(func.max(completions.c.id)).where(completions.c.id < "chatcmpl-1")
        with self._reading() as connection:
            newest: str | None = connection.scalar(ours)
        return newest

    def usage(self) -> list[UsageCount]:
        counts = tables.usage_counts
        with self._reading() as connection:
            rows = connection.execute(select(counts).order_by(counts.c.day, counts.c.upstream, counts.c.model, counts.c.stored))
            return [UsageCount(**row._mapping) for row in rows]

    def run(self, run_id: str) -> Run | None:
        with self._reading() as connection:
            row = connection.execute(select(runs).where(runs.c.id == run_id)).first()
        return None if row is None else Run(**row._mapping)

    def runs(
        self,
        kind: str | None = None,
        limit: int = 100,
        *,
        after: str | None = None,
        states: Collection[RunState] | None = None,
        ref: str | None = None,
    ) -> list[Run]:
        query = select(runs).order_by(runs.c.created.desc(), runs.c.id.desc()).limit(limit)
        if kind is not None:
            query = query.where(runs.c.kind == kind)
        if after is not None:
            last = select(runs.c.created, runs.c.id).where(runs.c.id == after)
            query = query.where(tuple_(runs.c.created, runs.c.id) < last.scalar_subquery())
        if states is not None:
            query = query.where(runs.c.state.in_(states))
        if ref is not None:
            query = query.where(runs.c.ref == ref)
        with self._reading() as connection:
            return [Run(**row._mapping) for row in connection.execute(query)]

    def unannounced_runs(self) -> list[Run]:
        query = select(runs).where(UNANNOUNCED).order_by(runs.c.created, runs.c.id)
        with self._reading() as connection:
            return [Run(**row._mapping) for row in connection.execute(query)]

    def events(self, run_id: str, after: int = -1, limit: int = 10_000) -> list[RunEvent]:
        later = select(run_events).where(run_events.c.run == run_id, run_events.c.seq > after)
        with self._reading() as connection:
            return [RunEvent(**row._mapping) for row in connection.execute(later.order_by(run_events.c.seq).limit(limit))]

    def dataset(self, name_or_fingerprint: str) -> Dataset | None:
        name, at, prefix = name_or_fingerprint.partition("@")
        table = tables.datasets
        if name_or_fingerprint.startswith("sha256:"):
            condition = table.c.fingerprint == name_or_fingerprint
        elif at:
            tagged = prefix if prefix.startswith("sha256:") else f"sha256:{prefix}"
            condition = (table.c.name == name) & table.c.fingerprint.startswith(tagged, autoescape=True)
        else:
            condition = table.c.name == name
        return next(iter(self._documents(Dataset, table, condition)), None)

    def datasets(self, name: str | None = None) -> list[Dataset]:
        """Newest first."""
        return self._documents(Dataset, tables.datasets, *([] if name is None else [tables.datasets.c.name == name]))

    def artifact(self, artifact_id: str) -> Artifact | None:
        return next(iter(self._documents(Artifact, tables.artifacts, tables.artifacts.c.id == artifact_id)), None)

    def artifacts(self) -> list[Artifact]:
        """Newest first."""
        return self._documents(Artifact, tables.artifacts)

    def report(self, report_id: str) -> Report | None:
        return next(iter(self._documents(Report, tables.reports, tables.reports.c.id == report_id)), None)

    def reports(self, name: str | None = None) -> list[Report]:
        """Newest first."""
        return self._documents(Report, tables.reports, *([] if name is None else [tables.reports.c.name == name]))

    def upstreams(self) -> list[Upstream]:
        """By name."""
        return sorted(self._documents(Upstream, tables.upstreams), key=lambda upstream: upstream.name)

    def keys(self) -> list[Key]:
        """Oldest first."""
        return sorted(self._documents(Key, tables.keys), key=lambda key: key.id)

    def routes(self) -> list[Route]:
        in_force: dict[str, Route] = {}
        for route in self._documents(Route, tables.routes):
            in_force.setdefault(route.alias, route)
        return sorted(in_force.values(), key=lambda route: route.alias)

    def route_history(self, alias: str) -> list[Route]:
        return self._documents(Route, tables.routes, tables.routes.c.alias == alias)

    def document(self, kind: str, id: str) -> Document | None:
        with self._reading() as connection:
            row = connection.execute(select(documents).where(documents.c.kind == kind, documents.c.id == id)).first()
        return None if row is None else Document(**row._mapping)

    def documents(self, query: DocumentQuery) -> Page[Document]:
        """The record's own fields are looked at row by row: a kind has thousands of documents, not millions."""
        newest_first = query.order == "desc"
        rows = select(documents).where(documents.c.kind == query.kind)
        if query.parent is not None:
            rows = rows.where(documents.c.parent == query.parent)
        if query.after is not None:
            rows = rows.where(self._beyond(query.kind, query.after, newest_first=newest_first))
        order = [column.desc() if newest_first else column.asc() for column in (documents.c.created, documents.c.id)]
        with self._reading() as connection:
            found = (row for row in connection.execute(rows.order_by(*order)).yield_per(200) if query.matches(row.record))
            items = [Document(**row._mapping) for row in islice(found, query.limit + 1)]
        return Page(items[: query.limit], has_more=len(items) > query.limit)

    def _beyond(self, kind: str, after: str, *, newest_first: bool) -> ColumnElement[bool]:
        """What comes after a document in a list; after one that was deleted, too, for whoever deletes page by page.

        Then its place is told by its id, as far as that tells: who is made in the same seconds under a foreign id may come again.
        """
        last, made = self.document(kind, after), second_of(after)
        place, id = tuple_(documents.c.created, documents.c.id), documents.c.id
        if last is None and made is None:
            raise NotFoundError(f"There is no {kind} '{after[:80]}' to go on after.")
        here = tuple_(made if last is None else last.created, after)
        beyond = place < here if newest_first else place > here
        if last is not None or made is None:
            return beyond
        if newest_first:
            return beyond | ((documents.c.created <= made + NEARBY_SECONDS) & (id < after))
        return beyond | ((documents.c.created >= made - NEARBY_SECONDS) & (id > after))

    def _documents(self, kind: type[R], table: Table, *conditions: ColumnElement[bool]) -> list[R]:
        """Newest first, by the order in which they were put."""
        query = select(table.c.record).where(*conditions).order_by(table.c.sequence.desc())
        with self._reading() as connection:
            return [kind.model_validate(record, strict=False) for record in connection.scalars(query)]

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._readers.connect() as connection:
                yield connection
        except SQLAlchemyError as exc:
            raise StoreError(f"The database cannot be read: {getattr(exc, 'orig', None) or exc}.") from exc


def _plain_conditions(query: CompletionQuery) -> Iterator[ColumnElement[bool]]:
    columns = completions.c
    if query.states:
        yield columns.state.in_(query.states)
    if query.model is not None:
        yield or_(columns.requested_model == query.model, columns.model == query.model)
    if query.created_after is not None:
        yield columns.created >= query.created_after
    if query.created_before is not None:
        yield columns.created < query.created_before
    if query.finish_reason is not None:
        yield columns.finish_reason == query.finish_reason


def _label_conditions(query: CompletionQuery) -> Iterator[ColumnElement[bool]]:
    labels, tags = completion_metadata.c, completion_tags.c
    for key, value in query.metadata.items():
        yield completions.c.id.in_(select(labels.completion_id).where(labels.key == key, labels.value == value))
    if query.tag is not None:
        yield completions.c.id.in_(select(tags.completion_id).where(tags.tag == query.tag))


def _completions(connection: Connection, rows: Sequence[Row[Any]]) -> list[Completion]:
    """Rows of the hot table with their metadata and tags."""
    metadata: dict[str, dict[str, str]] = {row.id: {} for row in rows}
    tags: dict[str, list[str]] = {row.id: [] for row in rows}
    for some in chunks(metadata):
        of_these = completion_metadata.c.completion_id.in_(some)
        for key, name, value in connection.execute(select(completion_metadata).where(of_these)):
            metadata[key][name] = value
        of_these = completion_tags.c.completion_id.in_(some)
        for key, tag in connection.execute(select(completion_tags).where(of_these).order_by(completion_tags.c.tag)):
            tags[key].append(tag)
    return [Completion(**row._mapping, metadata=metadata[row.id], tags=tuple(tags[row.id])) for row in rows]

"""The protocol of a store.

Reads are synchronous and may be made from any thread or process. Writes return a Future that is done when the write is on disk
(committed and fsynced): `store.put_route(route).result()` in a command, `await asyncio.wrap_future(...)` in the gateway.
Writes of one store take effect in the order they were submitted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from stillhouse.artifact import Artifact
from stillhouse.completion import Completion, CompletionQuery
from stillhouse.dataset import Dataset
from stillhouse.document import Document, DocumentQuery
from stillhouse.grade import Report
from stillhouse.keys import Key
from stillhouse.records import Record
from stillhouse.route import Route
from stillhouse.run import Run, RunEvent, RunState
from stillhouse.upstream import Upstream

T = TypeVar("T")

PAGE = 1000
"""Completions read at once where all are wanted."""


class Page(Generic[T]):
    """One page of a list, and whether more follow."""

    def __init__(self, items: Sequence[T], *, has_more: bool) -> None:
        self.items = list(items)
        self.has_more = has_more


class Payload(Record):
    """The bytes of one exchange, as the client sent and got them."""

    request: bytes
    response: bytes | None = None
    """The body, or the concatenated events; None until something came."""


class UsageCount(Record):
    """What was used, by day and model; counted for stored and unstored requests alike, contents never."""

    day: str
    """`2026-11-20`, UTC."""
    upstream: str
    model: str
    stored: bool
    requests: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class CompletionStore(Protocol):
    def begin_completion(self, completion: Completion, request: bytes) -> Future[None]:
        """The intent: kept before the upstream is called. `completion.state` is `started`."""

    def save_partial(self, completion_id: str, response: bytes) -> Future[None]:
        """What has come of a stream so far (replaces the last partial). A diagnostic, never a label."""

    def finish_completion(self, completion: Completion, response: bytes) -> Future[None]:
        """How it ended. Idempotent by id; once a row is `complete`, or deleted, a finish changes nothing."""

    def interrupt_completions(self, instance: str) -> Future[int]:
        """What `instance` began and, being dead, cannot finish is `interrupted`. How many there were."""

    def completion(self, completion_id: str) -> Completion | None: ...
    def payload(self, completion_id: str) -> Payload | None: ...
    def completions(self, query: CompletionQuery) -> Page[Completion]:
        """Reads no payload, whatever the filter."""

    def set_metadata(self, completion_id: str, metadata: dict[str, str]) -> Future[bool]: ...
    def tag_completions(self, ids: Iterable[str], *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Future[int]: ...
    def delete_completions(self, ids: Iterable[str]) -> Future[int]:
        """Rows, payloads and search index."""

    def count_usage(self, count: UsageCount) -> Future[None]:
        """Adds to the day's row."""

    def usage(self) -> list[UsageCount]: ...


class RunStore(Protocol):
    def put_run(self, run: Run) -> Future[None]: ...
    def run(self, run_id: str) -> Run | None: ...
    def runs(
        self,
        kind: str | None = None,
        limit: int = 100,
        *,
        after: str | None = None,
        states: Collection[RunState] | None = None,
        ref: str | None = None,
    ) -> list[Run]:
        """Newest first; `after` an id, older ones only."""

    def unannounced_runs(self) -> list[Run]:
        """Every run that has not ended, or of whose end not everybody has heard, oldest first."""

    def claim_run(self, run_id: str, *, pid: int, boot: str) -> Future[int | None]:
        """Take a queued run: state `running`, the new epoch; None if it is in any other state, e.g. somebody else's."""

    def update_run(
        self, run_id: str, epoch: int, changes: dict[str, object], *, only: Collection[RunState] | None = None
    ) -> Future[bool]:
        """Change fields if `epoch` is still the run's (fencing), and its state among `only`; False, and no change, if not."""

    def when_runs_change(self, callback: Callable[[], object]) -> None:
        """Call it, from any thread, after every write through this store that adds a run or changes a run's state."""

    def add_events(self, events: Sequence[RunEvent], epoch: int) -> Future[bool]:
        """Append; also renews the heartbeat. An event already there is left as it is."""

    def events(self, run_id: str, after: int = -1, limit: int = 10_000) -> list[RunEvent]: ...


class DocumentStore(Protocol):
    """The records of API resources."""

    def put_document(self, document: Document) -> Future[None]:
        """Enter it, or take the place of the one with its kind and id."""

    def change_document(
        self, kind: str, id: str, changes: Mapping[str, object], expect: Mapping[str, Sequence[object]] = {}
    ) -> Future[dict[str, Any] | None]:
        """Set top-level fields of the record, if each field of `expect` has one of the values named there (compare and set).

        The changed record; None, and no change, where it is not there or not as expected.
        """

    def delete_document(self, kind: str, id: str) -> Future[bool]: ...
    def document(self, kind: str, id: str) -> Document | None: ...
    def documents(self, query: DocumentQuery) -> Page[Document]:
        """By creation, then id. Raises NotFoundError where `query.after` is none of them."""


class Store(CompletionStore, RunStore, DocumentStore, Protocol):
    """Everything that is kept."""

    def put_dataset(self, dataset: Dataset) -> Future[None]: ...
    def dataset(self, name_or_fingerprint: str) -> Dataset | None:
        """`name` (newest), `name@prefix-of-fingerprint`, or a fingerprint."""

    def datasets(self, name: str | None = None) -> list[Dataset]: ...
    def delete_dataset(self, name: str, fingerprint: str) -> Future[bool]:
        """The row alone; its files are the caller's."""

    def put_artifact(self, artifact: Artifact) -> Future[None]: ...
    def artifact(self, artifact_id: str) -> Artifact | None: ...
    def artifacts(self) -> list[Artifact]: ...
    def delete_artifact(self, artifact_id: str) -> Future[bool]:
        """The row alone; its files are the caller's."""

    def put_report(self, report: Report) -> Future[None]: ...
    def report(self, report_id: str) -> Report | None: ...
    def reports(self, name: str | None = None) -> list[Report]: ...
    def put_upstream(self, upstream: Upstream) -> Future[None]: ...
    def delete_upstream(self, name: str) -> Future[bool]: ...
    def upstreams(self) -> list[Upstream]: ...
    def put_key(self, key: Key) -> Future[None]: ...
    def keys(self) -> list[Key]: ...
    def put_route(self, route: Route) -> Future[None]:
        """The newest of an alias is the one in force; the older ones are its history."""

    def rollback_route(self, alias: str) -> Future[Route | None]:
        """Drop the newest; returns the one now in force, None (and no change) when there is no earlier one."""

    def routes(self) -> list[Route]:
        """In force, one an alias."""

    def route_history(self, alias: str) -> list[Route]:
        """Newest first."""

    def close(self) -> None: ...


def every(store: CompletionStore, query: CompletionQuery) -> Iterator[Completion]:
    """All that match, oldest first, page by page."""
    query = query.model_copy(update={"limit": PAGE, "order": "asc"})
    while True:
        page = store.completions(query)
        yield from page.items
        if not page.has_more:
            return
        query = query.model_copy(update={"after": page.items[-1].id})

"""`SqlStore`: reads from connections that cannot write, and writes by name through a `Writer`.

No transaction logic and no dialect's SQL here: what a write does stands in `writes/`, how it gets to the disk in the backend.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from stillhouse.artifact import Artifact
from stillhouse.completion import Completion, CompletionQuery
from stillhouse.dataset import Dataset
from stillhouse.document import Document
from stillhouse.errors import StoreError
from stillhouse.grade import Report
from stillhouse.ids import new_id, uuid7_hex
from stillhouse.keys import Key
from stillhouse.records import Record
from stillhouse.route import Route
from stillhouse.run import Run, RunEvent, RunState
from stillhouse.stores.base import Page, UsageCount
from stillhouse.stores.dialects import Dialect
from stillhouse.stores.lock import publish_server, withdraw_server
from stillhouse.stores.reads import Reads
from stillhouse.stores.writer import Backend, Write, Writer
from stillhouse.upstream import Upstream

T = TypeVar("T")

INDEX_BATCH = 32
"""Completions indexed in one write while a search waits: small, so that the gateway's writes come between."""


class SqlStore(Reads):
    """Everything that is kept, in an SQL database. `numbered` writes carry an id, so that they may be sent twice."""

    def __init__(self, dialect: Dialect, backend: Backend, folder: Path, *, numbered: bool) -> None:
        super().__init__(dialect)
        self._writer = Writer(backend)
        self._folder = folder
        self._numbered = numbered
        self._published = False
        self._runs_changed: Callable[[], object] | None = None

    def submit(self, name: str, arguments: dict[str, Any], id: str | None = None) -> Future[Any]:
        """A write by name, as it came over the wire. Everything below ends here."""
        future = self._writer.submit(Write(name, arguments, id or (new_id("write") if self._numbered else None)))
        if self._runs_changed is not None and _moves_run(name, arguments):
            changed = self._runs_changed
            future.add_done_callback(lambda _: changed())
        return future

    def begin_completion(self, completion: Completion, request: bytes) -> Future[None]:
        return self.submit("begin_completion", {"completion": dict(completion), "request": request})

    def save_partial(self, completion_id: str, response: bytes) -> Future[None]:
        return self.submit("save_partial", {"id": completion_id, "response": response})

    def finish_completion(self, completion: Completion, response: bytes) -> Future[None]:
        return self.submit("finish_completion", {"completion": dict(completion), "response": response})

    def interrupt_completions(self, instance: str) -> Future[int]:
        return self.submit("interrupt_started", {"instance": instance})

    def completions(self, query: CompletionQuery) -> Page[Completion]:
        """One page. A text query first has everything indexed that is not yet; if that is refused, it finds what is."""
        if query.text is not None:
            with suppress(StoreError):
                while self.submit("index_pending", {"limit": INDEX_BATCH}).result() == INDEX_BATCH:
                    pass
        return self.find_completions(query)

    def set_metadata(self, completion_id: str, metadata: dict[str, str]) -> Future[bool]:
        return self.submit("set_metadata", {"id": completion_id, "metadata": metadata})

    def tag_completions(self, ids: Iterable[str], *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Future[int]:
        return self.submit("tag_completions", {"ids": list(ids), "add": list(add), "remove": list(remove)})

    def delete_completions(self, ids: Iterable[str]) -> Future[int]:
        return self.submit("delete_completions", {"ids": list(ids)})

    def count_usage(self, count: UsageCount) -> Future[None]:
        return self.submit("count_usage", dict(count))

    def put_run(self, run: Run) -> Future[None]:
        return self.submit("put_run", {"run": run.model_dump(mode="json")})

    def claim_run(self, run_id: str, *, pid: int, boot: str) -> Future[int | None]:
        return self.submit("claim_run", {"id": run_id, "pid": pid, "boot": boot, "now": time.time()})

    def update_run(
        self, run_id: str, epoch: int, changes: dict[str, object], *, only: Collection[RunState] | None = None
    ) -> Future[bool]:
        states = None if only is None else sorted(only)
        return self.submit("update_run", {"id": run_id, "epoch": epoch, "changes": changes, "only": states})

    def when_runs_change(self, callback: Callable[[], object]) -> None:
        self._runs_changed = callback

    def add_events(self, events: Sequence[RunEvent], epoch: int) -> Future[bool]:
        """Events of one run. Raises UsageError (in the future) for several."""
        rows = [event.model_dump(mode="json") for event in events]
        return self.submit("add_events", {"events": rows, "epoch": epoch, "now": time.time()})

    def put_dataset(self, dataset: Dataset) -> Future[None]:
        key = _dataset_key(dataset.name, dataset.fingerprint)
        return self._put("put_dataset", dataset, {"id": key, "name": dataset.name, "fingerprint": dataset.fingerprint})

    def delete_dataset(self, name: str, fingerprint: str) -> Future[bool]:
        return self.submit("delete_dataset", {"id": _dataset_key(name, fingerprint)})

    def put_artifact(self, artifact: Artifact) -> Future[None]:
        return self._put("put_artifact", artifact, {"id": artifact.id})

    def delete_artifact(self, artifact_id: str) -> Future[bool]:
        return self.submit("delete_artifact", {"id": artifact_id})

    def put_report(self, report: Report) -> Future[None]:
        return self._put("put_report", report, {"id": report.id, "name": report.name})

    def put_upstream(self, upstream: Upstream) -> Future[None]:
        return self._put("put_upstream", upstream, {"name": upstream.name})

    def delete_upstream(self, name: str) -> Future[bool]:
        return self.submit("delete_upstream", {"name": name})

    def put_key(self, key: Key) -> Future[None]:
        return self._put("put_key", key, {"id": key.id})

    def put_route(self, route: Route) -> Future[None]:
        return self._put("put_route", route, {"id": new_id("route"), "alias": route.alias})

    def rollback_route(self, alias: str) -> Future[Route | None]:
        record = self.submit("rollback_route", {"alias": alias})
        return _then(record, lambda value: None if value is None else Route.model_validate(value))

    def put_document(self, document: Document) -> Future[None]:
        return self.submit("put_document", document.model_dump(mode="json"))

    def change_document(
        self, kind: str, id: str, changes: Mapping[str, object], expect: Mapping[str, Sequence[object]] = {}
    ) -> Future[dict[str, Any] | None]:
        allowed = {field: list(values) for field, values in expect.items()}
        return self.submit("change_document", {"kind": kind, "id": id, "changes": dict(changes), "expect": allowed})

    def delete_document(self, kind: str, id: str) -> Future[bool]:
        return self.submit("delete_document", {"kind": kind, "id": id})

    def publish(self, url: str) -> str:
        """Tell other processes that this one takes writes at `url`/api/writes; the returned token is what they will show."""
        self._published = True
        return publish_server(self._folder, url)

    def health(self) -> dict[str, Any]:
        """For `doctor`: the database's version, known bugs of it, and the result of its own integrity check."""
        return self._dialect.health()

    def close(self) -> None:
        """Write what waits, then let go of the database."""
        if self._published:
            withdraw_server(self._folder)
        self._writer.close()
        self._readers.dispose()

    def _put(self, write: str, record: Record, columns: dict[str, str]) -> Future[None]:
        return self.submit(write, {**columns, "sequence": uuid7_hex(), "record": record.model_dump(mode="json")})


def _dataset_key(name: str, fingerprint: str) -> str:
    return f"{name}@{fingerprint}"


def _moves_run(name: str, arguments: dict[str, Any]) -> bool:
    return name == "put_run" or (name == "update_run" and "state" in arguments["changes"])


def _then(future: Future[Any], change: Callable[[Any], T]) -> Future[T]:
    """A future of the changed result."""
    changed: Future[T] = Future()

    def settle(done: Future[Any]) -> None:
        error = done.exception()
        if error is None:
            changed.set_result(change(done.result()))
        else:
            changed.set_exception(error)

    future.add_done_callback(settle)
    return changed

"""Batches by id: made, cancelled, and brought to their end whoever died meanwhile. The work itself stands in `batch_work`.

The document in the store says what a batch is; the journal in its run's folder holds the answers. Every step may be taken again:
the files that come out have ids that were decided when the batch was made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Literal

from stillhouse.apply import Journal
from stillhouse.batch import ENDED, OPEN, WINDOW_SECONDS, Batch, BatchProblem, BatchStatus
from stillhouse.bulk import Answer, Counts, answers, error_lines, output_lines
from stillhouse.document import Document, DocumentQuery
from stillhouse.errors import ConflictError, NotFoundError
from stillhouse.filing import FileRecord, Filing
from stillhouse.formats.batch_requests import BatchRequest, read_requests
from stillhouse.ids import new_id
from stillhouse.jobs import queue
from stillhouse.jobs.watch import settle as settle_run
from stillhouse.run import FINAL_STATES, Run
from stillhouse.settings import Settings
from stillhouse.stores.base import Page, Store

KIND = "batch"
ANSWERS = "answers.jsonl"
LOST_SECONDS = 60
"""After which a batch without its run was left so by a crash between the two writes."""

Ended = Literal["completed", "failed", "expired", "cancelled"]
UNASKED = {
    "expired": ("batch_expired", "This request was not executed before the completion window ended."),
    "cancelled": ("batch_cancelled", "This request was not executed before the batch was cancelled."),
}
"""What is said of a request that nobody got to, by how the batch ended."""


def create(
    store: Store, settings: Settings, file: FileRecord, endpoint: str, *, metadata: dict[str, str], seconds: int | None = None
) -> Batch:
    """A batch of the requests in `file`, queued. `seconds`: how long the files that it makes will be there. Raises StoreError."""
    now = int(time.time())
    batch = Batch(
        id=new_id("batch"),
        endpoint=endpoint,
        input_file_id=file.id,
        created_at=now,
        expires_at=now + WINDOW_SECONDS,
        metadata=metadata,
        run=new_id("run"),
        sha256=file.sha256,
        output_name=new_id("file"),
        error_name=new_id("file"),
        output_seconds=seconds,
    )
    store.put_document(Document(kind=KIND, id=batch.id, created=now, record=batch.model_dump(mode="json"))).result()
    _submit(store, settings, batch)
    return batch


def find(store: Store, batch_id: str) -> Batch:
    """Raises NotFoundError."""
    document = store.document(KIND, batch_id)
    if document is None:
        raise NotFoundError(f"There is no batch '{batch_id[:80]}'. See what there is: GET /v1/batches")
    return Batch.model_validate(document.record)


def look(store: Store, settings: Settings, batch_id: str) -> Batch:
    """The batch as it stands; if its run has ended without ending it, it is ended first. Raises NotFoundError, StoreError."""
    return _settle(store, settings, find(store, batch_id))


def page(store: Store, settings: Settings, query: DocumentQuery) -> Page[Batch]:
    """A page of batches as they stand. Raises NotFoundError, StoreError."""
    found = store.documents(query)
    batches = [_settle(store, settings, Batch.model_validate(document.record)) for document in found.items]
    return Page(batches, has_more=found.has_more)


def cancel(store: Store, settings: Settings, batch_id: str) -> Batch:
    """Ask for its end; what was answered is kept. Raises NotFoundError, ConflictError when it has ended or is about to."""
    batch = look(store, settings, batch_id)
    if batch.status in ("cancelling", "cancelled"):
        return batch
    changes = {"status": "cancelling", "cancelling_at": int(time.time())}
    if change(store, batch.id, changes, ("validating", "in_progress")) is None:
        raise ConflictError(f"The batch '{batch.id}' cannot be cancelled: it is {find(store, batch.id).status}.")
    run = store.run(batch.run)
    if run is not None:
        with suppress(ConflictError):  # it has ended just now
            queue.cancel(store, settings, run)
    return look(store, settings, batch.id)


def change(store: Store, batch_id: str, changes: Mapping[str, object], expect: Sequence[BatchStatus]) -> Batch | None:
    """The changed batch; None where its status is not among `expect`. Raises StoreError."""
    record = store.change_document(KIND, batch_id, changes, {"status": list(expect)}).result()
    return None if record is None else Batch.model_validate(record)


def journal_of(settings: Settings, batch: Batch) -> Journal[Answer]:
    """Its answers so far, held by this process. Raises ConflictError while another one holds them."""
    return Journal(settings.runs / batch.run / ANSWERS, Answer)


def end(
    store: Store,
    settings: Settings,
    batch: Batch,
    journal: Journal[Answer],
    ended: Ended,
    problems: Sequence[BatchProblem] = (),
) -> Batch:
    """File what was answered and end the batch; doing it again changes nothing. Raises StoreError."""
    current = find(store, batch.id)
    if current.status in ENDED:
        return current
    if ended == "completed":
        finalizing = {"status": "finalizing", "finalizing_at": int(time.time())}
        if change(store, batch.id, finalizing, ("in_progress", "finalizing")) is None:
            ended = "cancelled"  # somebody asked for it while the last answer came
    store.interrupt_completions(batch.run).result()  # what a worker that was killed had under way
    filing = Filing(store, settings)
    counts = Counts.of(answers(journal))
    code, message = UNASKED.get(ended, ("", ""))
    unasked = _unasked(filing, batch, counts) if ended in UNASKED else iter(())
    output = _file(filing, batch, batch.output_name, "output", output_lines(answers(journal)))
    errors = _file(filing, batch, batch.error_name, "error", error_lines(answers(journal), unasked, code, message))
    changes = {
        "status": ended,
        f"{ended}_at": int(time.time()),
        "completed": counts.completed,
        "failed": counts.failed,
        "usage": counts.usage.model_dump(),
        "output_file_id": output,
        "error_file_id": errors,
        "errors": [problem.model_dump() for problem in problems],
        "sha256": "",
    }
    if change(store, batch.id, changes, OPEN) is not None:
        filing.forget([batch.sha256])
    journal.drop()
    return find(store, batch.id)


def _settle(store: Store, settings: Settings, batch: Batch) -> Batch:
    if batch.status in ENDED:
        return batch
    run = store.run(batch.run)
    if run is None:
        if time.time() - batch.created_at > LOST_SECONDS:
            _submit(store, settings, batch)
        return batch
    run = settle_run(store, run, settings.runs)
    if run.state not in FINAL_STATES:
        return batch
    cancelled = run.state == "cancelled" or batch.status == "cancelling"
    problem = BatchProblem(code="server_error", message=run.error or f"Its run {run.id} ended without a word.")
    with suppress(ConflictError), journal_of(settings, batch) as journal:
        current = find(store, batch.id)
        if current.status not in ENDED:
            return end(store, settings, current, journal, "cancelled" if cancelled else "failed", () if cancelled else (problem,))
    return find(store, batch.id)


def _submit(store: Store, settings: Settings, batch: Batch) -> None:
    now = time.time()
    run = Run(
        id=batch.run,
        kind=KIND,
        name=batch.endpoint,
        state="queued",
        created=int(now),
        heartbeat=now,
        spec={"batch": batch.id},
        resource="network",
        ref=batch.id,
    )
    queue.begin(store, settings, queue.submit(store, settings, run))


def _unasked(filing: Filing, batch: Batch, counts: Counts) -> Iterator[BatchRequest]:
    if batch.sha256 and batch.sha256 in filing.files:
        for row in read_requests(filing.files.path(batch.sha256), batch.endpoint):
            if isinstance(row, BatchRequest) and row.line not in counts.done:
                yield row


def _file(filing: Filing, batch: Batch, file_id: str, what: str, lines: Iterator[bytes]) -> str | None:
    """The id of the file that `lines` make; None where there are none."""
    first = next(lines, None)
    if first is None:
        return None
    with filing.draft() as draft:
        draft.write(first)
        for line in lines:
            draft.write(line)
        name = f"{batch.id}_{what}.jsonl"
        return filing.file_draft(draft, name, "batch_output", seconds=batch.output_seconds, file_id=file_id).id

"""Evals and their runs as they are kept: documents, each run with a row in the queue; made, cancelled, deleted here.

How they look to a client is the API's affair; what a run does stands in `eval_runs.py`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from stillhouse.document import Document, DocumentQuery
from stillhouse.errors import ConflictError, NotFoundError
from stillhouse.eval_config import DataSource, DataSourceConfig, FileContent, FileId, JsonlSource
from stillhouse.evaluation.blocks import Block
from stillhouse.evaluation.tallying import Tally
from stillhouse.filing import Filing
from stillhouse.ids import new_id
from stillhouse.jobs import queue
from stillhouse.jobs.eval_rows import RowFiles, keep_rows, remove_run_files, run_files
from stillhouse.records import Record
from stillhouse.run import Run
from stillhouse.settings import Settings
from stillhouse.stores.base import Store

EVAL, EVAL_RUN = "eval", "eval.run"
RESCUED_ITEM = "rescued_output_item"
"""An output item of a run that was made on another server."""
"""Kinds of documents."""
WORK = "eval"
"""Kind of run."""

CONFIGS: TypeAdapter[DataSourceConfig] = TypeAdapter(DataSourceConfig)
SOURCES: TypeAdapter[DataSource] = TypeAdapter(DataSource)


class EvalRecord(Record):
    name: str
    metadata: dict[str, str] = {}
    data_source_config: dict[str, Any]
    """As it was sent."""
    testing_criteria: list[dict[str, Any]]
    """As they were sent."""
    updated_at: int

    @property
    def config(self) -> DataSourceConfig:
        return CONFIGS.validate_python(self.data_source_config)


class RunOptions(Record):
    """What OpenAI's API has no word for."""

    concurrency: int = 8
    """Requests under way at once."""
    teacher: str | None = None
    """Another run of this eval: what it answered to the same item is `{{item.teacher}}`."""


class EvalRunRecord(Record):
    name: str
    metadata: dict[str, str] = {}
    model: str = ""
    """Who is asked; empty where nobody is."""
    data_source: dict[str, Any]
    """As it was sent, but for the rows of `file_content`: those lie in `rows`."""
    rows: RowFiles | None = None
    options: RunOptions = RunOptions()
    token: str
    """Opens its page, where a browser can send no key."""
    held: tuple[str, ...] = ()
    """Hashes of the uploaded bytes that it reads, until it has ended."""
    epoch: int = 0
    """Of the worker that may write here."""
    blocks: tuple[Block, ...] = ()
    tally: Tally = Tally()
    report: str | None = None
    contamination: dict[str, Any] | None = None
    pairwise: dict[str, Any] = {}
    rescued: dict[str, Any] | None = None
    """The run as another server showed it, where it was made there: nothing of it was computed here."""

    @property
    def source(self) -> DataSource:
        """Without its rows."""
        return SOURCES.validate_python(self.data_source)


class EvalRun(Record):
    """A run, from both sides."""

    id: str
    eval: str
    created: int
    record: EvalRunRecord
    run: Run | None
    """Its row in the queue; None where that is gone."""


def create_eval(store: Store, record: EvalRecord) -> Document:
    """Keep a new eval."""
    document = Document(kind=EVAL, id=new_id("eval"), created=record.updated_at, record=record.model_dump(mode="json"))
    store.put_document(document).result()
    return document


def find_eval(store: Store, eval_id: str) -> tuple[Document, EvalRecord]:
    """Raises NotFoundError."""
    document = store.document(EVAL, eval_id)
    if document is None:
        raise NotFoundError(f"There is no eval '{eval_id[:80]}'. See what there is: GET /v1/evals")
    return document, EvalRecord.model_validate(document.record)


def delete_eval(store: Store, settings: Settings, eval_id: str) -> None:
    """The eval, its runs and what they kept. Raises NotFoundError."""
    find_eval(store, eval_id)
    for run in runs_of(store, eval_id):
        delete_run(store, settings, eval_id, run.id)
    store.delete_document(EVAL, eval_id).result()


def create_run(
    store: Store,
    settings: Settings,
    eval_id: str,
    source: DataSource,
    *,
    name: str | None,
    metadata: Mapping[str, str],
    options: RunOptions,
) -> EvalRun:
    """Keep a new run and queue it. Raises NotFoundError for an uploaded file that is not there."""
    run_id, created = new_id("evalrun"), int(time.time())
    held: tuple[str, ...] = ()
    rows, sent = None, source.model_dump(mode="json", exclude_unset=True)
    if isinstance(source.source, FileContent):
        rows = keep_rows(source.source.content, run_files(settings, run_id))
        sent["source"] = {**sent["source"], "content": [{"item": {}}]}
    elif isinstance(source.source, FileId):
        held = (Filing(store, settings).file(source.source.id).sha256,)
    record = EvalRunRecord(
        name=name or run_id,
        metadata=dict(metadata),
        model="" if isinstance(source, JsonlSource) else source.model or "",
        data_source=sent,
        rows=rows,
        held=held,
        options=options,
        token=secrets.token_urlsafe(16),
    )
    document = Document(kind=EVAL_RUN, id=run_id, parent=eval_id, created=created, record=record.model_dump(mode="json"))
    store.put_document(document).result()
    run = Run(
        id=run_id,
        kind=WORK,
        name=record.name,
        state="queued",
        created=created,
        spec={"eval": eval_id},
        resource="network",
        ref=run_id,
    )
    queue.submit(store, settings, run)
    return EvalRun(id=run_id, eval=eval_id, created=created, record=record, run=store.run(run_id))


def find_run(store: Store, run_id: str, eval_id: str | None = None) -> EvalRun:
    """A run, of the eval when one is named. Raises NotFoundError."""
    document = store.document(EVAL_RUN, run_id)
    if document is None or eval_id not in (None, document.parent):
        raise NotFoundError(f"There is no run '{run_id[:80]}'{f' of the eval {eval_id[:80]}' if eval_id else ''}.")
    return run_of(store, document)


def run_of(store: Store, document: Document) -> EvalRun:
    """The run that a document is about."""
    record = EvalRunRecord.model_validate(document.record)
    return EvalRun(id=document.id, eval=document.parent, created=document.created, record=record, run=store.run(document.id))


def runs_of(store: Store, eval_id: str) -> Iterator[EvalRun]:
    """Every run of an eval, oldest first."""
    query = DocumentQuery(kind=EVAL_RUN, parent=eval_id, limit=10**9, order="asc")
    return (run_of(store, document) for document in store.documents(query).items)


def cancel_run(store: Store, settings: Settings, eval_id: str, run_id: str) -> EvalRun:
    """End it; what was answered stays. Raises NotFoundError, ConflictError when it has ended otherwise."""
    found = find_run(store, run_id, eval_id)
    if found.run is None:
        raise ConflictError(f"The run {run_id} is not in the queue any more.")
    queue.cancel(store, settings, found.run)
    return find_run(store, run_id, eval_id)


def delete_run(store: Store, settings: Settings, eval_id: str, run_id: str) -> None:
    """The run, cancelled if need be, and what it kept. Raises NotFoundError."""
    found = find_run(store, run_id, eval_id)
    if found.run is not None and found.run.state not in ("succeeded", "failed", "cancelled"):
        queue.cancel(store, settings, found.run)
    for item in store.documents(DocumentQuery(kind=RESCUED_ITEM, parent=run_id, limit=10**9)).items:
        store.delete_document(RESCUED_ITEM, item.id).result()
    store.delete_document(EVAL_RUN, run_id).result()
    Filing(store, settings).forget(found.record.held)
    remove_run_files(settings, run_id)

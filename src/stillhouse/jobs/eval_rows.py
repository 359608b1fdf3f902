"""The rows that an eval's run is about: from its body, from a file, from what was stored.

What is stored goes on changing, so which exchanges it is about is decided once, when the run begins. Their texts stay where they
are and are read when their turn comes: what was deleted meanwhile is not asked about. Rows that came with the request, and what
becomes of all of them, lie in the run's folder, which goes with the run.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from stillhouse.chat import ChatResponse
from stillhouse.completion import Completion, CompletionQuery
from stillhouse.document import DocumentQuery
from stillhouse.errors import FormatError
from stillhouse.eval_config import (
    CompletionRow,
    ContentRow,
    DataSource,
    DataSourceConfig,
    FileContent,
    FileId,
    LogsConfig,
    StoredCompletions,
    StoredResponses,
)
from stillhouse.evaluation.cases import described
from stillhouse.evaluation.keeping import pack, unpack_as
from stillhouse.files import Files
from stillhouse.filing import Filing
from stillhouse.formats.base import Quarantined
from stillhouse.formats.eval_items import read_items
from stillhouse.records import Record
from stillhouse.settings import Settings
from stillhouse.stores.base import Payload, Store, every
from stillhouse.transcript import assemble, message_text, prompt_messages

AT_ONCE = 1000
"""Rows in one file."""


class RowFiles(Record):
    """Where a run's rows lie."""

    files: tuple[str, ...] = ()
    """In the run's folder, by content."""
    stored: tuple[str, ...] = ()
    """Or the ids of stored exchanges, in such files."""
    upload: str | None = None
    """Or an uploaded file, by id."""
    sha256: str = ""
    """Of the uploaded file."""
    count: int


class StoredId(Record):
    """A row that lies in the store."""

    completion: str
    response: str | None = None
    """Where it was asked for as a response: that has metadata of its own."""


def run_files(settings: Settings, run_id: str) -> Files:
    """What a run keeps: its rows, and the blocks of answers."""
    return Files(_folder(settings, run_id))


def remove_run_files(settings: Settings, run_id: str) -> None:
    """All of it, for good."""
    shutil.rmtree(_folder(settings, run_id), ignore_errors=True)


def journal_path(settings: Settings, run_id: str, block: int) -> Path:
    """What was said since the last whole block."""
    return _folder(settings, run_id) / f"block-{block}.jsonl"


def keep_rows(rows: Iterable[ContentRow], files: Files) -> RowFiles:
    """Rows as files of the run's folder."""
    names, count = _kept(rows, files)
    return RowFiles(files=names, count=count)


def _kept(records: Iterable[Record], files: Files) -> tuple[tuple[str, ...], int]:
    left, names, count = iter(records), [], 0
    while some := list(islice(left, AT_ONCE)):
        names.append(files.put(pack(some)))
        count += len(some)
    return tuple(names), count


def rows_of_source(
    store: Store, settings: Settings, source: DataSource, config: DataSourceConfig, run_id: str, held: str = ""
) -> RowFiles:
    """The rows that a source names, made fast. `held`: the bytes of the file it names, by their hash.

    Raises NotFoundError, FormatError when a file is none of rows.
    """
    origin = source.source
    if isinstance(origin, FileId):
        rows = RowFiles(upload=origin.id, sha256=held, count=0)
        return rows.model_copy(update={"count": sum(1 for _ in read_rows(store, settings, rows, run_id))})
    if isinstance(origin, FileContent):
        return keep_rows(origin.content, run_files(settings, run_id))
    needed = (config.metadata or {}) if isinstance(config, LogsConfig) else {}
    if isinstance(origin, StoredCompletions):
        ids = stored_completions(store, origin, needed)
    else:
        ids = stored_responses(store, origin, needed)
    names, count = _kept(ids, run_files(settings, run_id))
    return RowFiles(stored=names, count=count)


def read_rows(store: Store, settings: Settings, rows: RowFiles, run_id: str) -> Iterator[ContentRow]:
    """One after the other, a file's worth in memory. Raises NotFoundError when an uploaded file is gone, FormatError."""
    if rows.upload is not None:
        held = {rows.upload: rows.sha256} if rows.sha256 else {}
        yield from file_rows(Filing(store, settings, held=held).path_of(rows.upload))
        return
    files = run_files(settings, run_id)
    for name in rows.files:
        yield from unpack_as(ContentRow, files.get(name))
    for stored in stored_ids(rows, files):
        yield _completion_row(store, stored)


def stored_ids(rows: RowFiles, files: Files) -> Iterator[StoredId]:
    """Which exchanges a run's rows are, in their order; none where its rows come from elsewhere."""
    for name in rows.stored:
        yield from unpack_as(StoredId, files.get(name))


def file_rows(path: Path) -> Iterator[ContentRow]:
    """A file of rows, line by line. Raises FormatError for the first that is none."""
    for row in read_items(path):
        if isinstance(row, Quarantined):
            raise FormatError(f"Line {row.line} is no row of an eval: {row.reason}.")
        yield ContentRow(item=row.item, sample=row.sample)


def stored_completions(store: Store, source: StoredCompletions, needed: dict[str, str]) -> Iterator[StoredId]:
    """The stored exchanges that a source names, oldest first."""
    query = CompletionQuery(
        model=source.model,
        metadata={**needed, **(source.metadata or {})},
        created_after=source.created_after,
        created_before=source.created_before,
    )
    return (StoredId(completion=row.id) for row in islice(every(store, query), source.limit))


def _completion_row(store: Store, stored: StoredId) -> CompletionRow:
    row, payload = store.completion(stored.completion), store.payload(stored.completion)
    document = None if stored.response is None else store.document("response", stored.response)
    if row is None or payload is None:
        return CompletionRow(item={}, completion=stored.completion, deleted=True)
    return stored_row(row, payload, row.metadata if document is None else document.record.get("metadata") or {})


def stored_row(row: Completion, payload: Payload, metadata: dict[str, str]) -> CompletionRow:
    """One exchange: what was asked is the item, what was answered the sample (and `item.output_text`)."""
    messages = prompt_messages(payload.request)
    response = ChatResponse.build(assemble(payload.response or b"", row.stream))
    item: dict[str, Any] = {
        "input": messages,
        "input_text": message_text(messages[-1]) if messages else "",
        "output_text": response.text,
        "metadata": metadata,
    }
    return CompletionRow(item=item, sample=described(response, messages, row.model), completion=row.id)


def stored_responses(store: Store, source: StoredResponses, needed: dict[str, str]) -> Iterator[StoredId]:
    """What the Responses API stored, oldest first. What was asked and answered stands in the completion behind each."""
    wanted = {**needed, **(source.metadata or {})}
    query = DocumentQuery(kind="response", metadata=wanted, limit=10**9, order="asc")
    for document in store.documents(query).items:
        asked, completion = document.record.get("asked") or {}, str(document.record.get("completion"))
        row = store.completion(completion)
        if _in_time(source, document.created) and _asked_so(source, asked) and row is not None and row.state == "complete":
            yield StoredId(completion=completion, response=document.id)


def _in_time(source: StoredResponses, created: int) -> bool:
    after, before = source.created_after, source.created_before
    return (after is None or created >= after) and (before is None or created < before)


def _asked_so(source: StoredResponses, asked: dict[str, Any]) -> bool:
    """Whether a response was asked for in the way that the source says."""
    tools = [tool for tool in asked.get("tools") or () if isinstance(tool, dict)]
    names = {str(tool.get(key)) for tool in tools for key in ("name", "type")}
    reasoning = asked.get("reasoning")
    equal = {
        "model": source.model,
        "temperature": source.temperature,
        "top_p": source.top_p,
    }
    return (
        all(value is None or asked.get(name) == value for name, value in equal.items())
        and source.reasoning_effort in (None, reasoning.get("effort") if isinstance(reasoning, dict) else None)
        and (source.instructions_search or "").casefold() in str(asked.get("instructions") or "").casefold()
        and (source.tools is None or bool(names & set(source.tools)))
        and (source.users is None or asked.get("user") in source.users)
    )


def _folder(settings: Settings, run_id: str) -> Path:
    return settings.data_dir / "evals" / run_id

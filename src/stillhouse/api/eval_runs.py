"""`/v1/evals/{eval_id}/runs`: runs made, listed, read, cancelled and deleted, and the output items of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from pydantic import Field

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.bodies import parse_body
from stillhouse.api.describing import one_of, takes
from stillhouse.api.endpoint import Line
from stillhouse.api.eval_objects import STATUSES, item_body, item_position, run_body, run_status
from stillhouse.api.pages import MAX_PAGE, PageQuery, list_body
from stillhouse.api.parameters import check_metadata
from stillhouse.errors import FormatError, InvalidParameterError, NotFoundError
from stillhouse.eval_config import ContentRow, DataSource, FileContent, FileId, JsonlSource
from stillhouse.evaluation.blocks import Standing, numbered, row_at
from stillhouse.evaluation.schemas import RowError, checked
from stillhouse.filing import Filing
from stillhouse.jobs.eval_answers import block_reader
from stillhouse.jobs.eval_graders import judges_of
from stillhouse.jobs.eval_rows import file_rows, read_rows
from stillhouse.jobs.evals import (
    EVAL_RUN,
    RESCUED_ITEM,
    EvalRecord,
    EvalRun,
    RunOptions,
    cancel_run,
    create_run,
    delete_run,
    find_eval,
    find_run,
    run_of,
)
from stillhouse.records import Record
from stillhouse.routing import ModelNotFoundError, Router
from stillhouse.settings import Settings
from stillhouse.stores.base import Store

ALL = "/v1/evals/{eval_id}/runs"
ONE = ALL + "/{run_id}"
ITEMS = ONE + "/output_items"
FIRST_ROWS = 1000
"""Rows of an uploaded file that are checked before the run is made; the run checks all."""


class NewRun(Record):
    data_source: DataSource
    name: str | None = Field(default=None, max_length=256)
    metadata: Any = None
    stillhouse: RunOptions = RunOptions()


class EvalRuns:
    """Handlers; store and files are read in threads."""

    def __init__(self, store: Store, settings: Settings, router: Router) -> None:
        self._store = store
        self._settings = settings
        self._router = router

    def routes(self) -> list[Line]:
        return [
            ("POST", ALL, self.create, Policy.KEY),
            ("GET", ALL, self.list, Policy.KEY),
            ("GET", ONE, self.retrieve, Policy.KEY),
            ("POST", ONE, self.cancel, Policy.KEY),
            ("POST", ONE + "/cancel", self.cancel, Policy.KEY),
            ("DELETE", ONE, self.delete, Policy.KEY),
            ("GET", ITEMS, self.items, Policy.KEY),
            ("GET", ITEMS + "/{item_id}", self.item, Policy.KEY),
        ]

    @takes(NewRun, status=201)
    async def create(self, call: Call) -> Reply:
        raw = await call.body(self._settings.max_body_bytes)
        return Reply.of(await asyncio.to_thread(self._create, call, raw), 201)

    @takes(query={"status": one_of(*STATUSES)}, most=MAX_PAGE)
    async def list(self, call: Call) -> Reply:
        page, status = PageQuery(call.query), _one_of("status", call.query.get("status"), STATUSES)
        return Reply.of(await asyncio.to_thread(self._list, call, page, status))

    async def retrieve(self, call: Call) -> Reply:
        return Reply.of(await asyncio.to_thread(self._body, call, None))

    async def cancel(self, call: Call) -> Reply:
        return Reply.of(await asyncio.to_thread(self._cancel, call))

    async def delete(self, call: Call) -> Reply:
        eval_id, run_id = _ids(call)
        await asyncio.to_thread(delete_run, self._store, self._settings, eval_id, run_id)
        return Reply.of({"object": "eval.run.deleted", "deleted": True, "run_id": run_id})

    @takes(query={"status": one_of("pass", "fail", "error")}, most=MAX_PAGE)
    async def items(self, call: Call) -> Reply:
        page, status = PageQuery(call.query), _one_of("status", call.query.get("status"), ("pass", "fail", "error"))
        return Reply.of(await asyncio.to_thread(self._items, call, page, status))

    async def item(self, call: Call) -> Reply:
        return Reply.of(await asyncio.to_thread(self._item, call))

    def _create(self, call: Call, raw: bytes) -> dict[str, Any]:
        eval_id = call.path_parameter("eval_id")
        record = find_eval(self._store, eval_id)[1]
        wish = parse_body(NewRun, raw)
        self._check_models(wish.data_source, record)
        self._check_rows(wish.data_source, record)
        if wish.stillhouse.teacher is not None:
            self._check_teacher(wish.stillhouse.teacher, eval_id)
        found = create_run(
            self._store,
            self._settings,
            eval_id,
            wish.data_source,
            name=wish.name,
            metadata=check_metadata(wish.metadata),
            options=wish.stillhouse,
        )
        return self._run_body(call, found, record)

    def _check_models(self, source: DataSource, record: EvalRecord) -> None:
        model = None if isinstance(source, JsonlSource) else source.model
        if model is not None:
            self._check_model(model, "data_source.model")
        for judge in sorted(judges_of(record.testing_criteria)):
            self._check_model(judge, "testing_criteria")

    def _check_model(self, model: str, param: str) -> None:
        try:
            self._router.resolve(model)
        except ModelNotFoundError as exc:
            raise InvalidParameterError(str(exc), param) from exc

    def _check_rows(self, source: DataSource, record: EvalRecord) -> None:
        """Raises InvalidParameterError for rows that are wrong, as far as can be seen before the run."""
        where, origin = "data_source.source", source.source
        rows: Sequence[ContentRow]
        if isinstance(origin, FileContent):
            rows, place = origin.content, f"{where}.content."
        elif isinstance(origin, FileId):
            rows, place = self._first_rows(origin.id), f"{where}.id"
        else:
            return
        try:
            for _ in checked(rows, record.config, in_run=False):
                pass
        except RowError as exc:
            raise InvalidParameterError(str(exc), place + exc.place if isinstance(origin, FileContent) else place) from exc
        asked = not isinstance(source, JsonlSource) and source.model
        if not asked and not isinstance(source, JsonlSource) and any(row.sample is None for row in rows):
            message = "There is nobody to ask and not every row has a sample: name a 'model', or use a jsonl source."
            raise InvalidParameterError(message, "data_source.model")

    def _first_rows(self, file_id: str) -> Sequence[ContentRow]:
        try:
            return list(islice(file_rows(Filing(self._store, self._settings).path_of(file_id)), FIRST_ROWS))
        except (NotFoundError, FormatError) as exc:
            raise InvalidParameterError(str(exc), "data_source.source.id") from exc

    def _check_teacher(self, run_id: str, eval_id: str) -> None:
        try:
            find_run(self._store, run_id, eval_id)
        except NotFoundError as exc:
            raise InvalidParameterError(str(exc), "stillhouse.teacher") from exc

    def _list(self, call: Call, page: PageQuery, status: str | None) -> dict[str, Any]:
        eval_id = call.path_parameter("eval_id")
        record = find_eval(self._store, eval_id)[1]
        query, found = page.documents(EVAL_RUN, parent=eval_id), _no_runs()
        while True:
            documents = self._store.documents(query)
            runs = [run_of(self._store, document) for document in documents.items]
            found += [run for run in runs if status in (None, run_status(run))]
            if not documents.has_more or len(found) > page.limit:
                break
            query = query.model_copy(update={"after": documents.items[-1].id})
        more = len(found) > page.limit or documents.has_more
        return list_body([self._run_body(call, run, record) for run in found[: page.limit]], has_more=more)

    def _body(self, call: Call, found: EvalRun | None) -> dict[str, Any]:
        eval_id, run_id = _ids(call)
        record = find_eval(self._store, eval_id)[1]
        return self._run_body(call, found or find_run(self._store, run_id, eval_id), record)

    def _cancel(self, call: Call) -> dict[str, Any]:
        eval_id, run_id = _ids(call)
        return self._body(call, cancel_run(self._store, self._settings, eval_id, run_id))

    def _run_body(self, call: Call, found: EvalRun, record: EvalRecord) -> dict[str, Any]:
        source = found.record.data_source
        if found.record.rows is not None and source["source"]["type"] == "file_content":
            rows = read_rows(self._store, self._settings, found.record.rows, found.id)
            content = [row.model_dump(mode="json", exclude_unset=True) for row in rows]
            source = {**source, "source": {**source["source"], "content": content}}
        return run_body(found, record, base_url(call), source)

    def _items(self, call: Call, page: PageQuery, status: Standing | None) -> dict[str, Any]:
        eval_id, run_id = _ids(call)
        criteria = find_eval(self._store, eval_id)[1].testing_criteria
        found = find_run(self._store, run_id, eval_id)
        if found.record.rescued is not None:
            return self._rescued_items(run_id, page, status)
        after = None if page.after is None else item_position(run_id, page.after)
        if page.after is not None and after is None:
            raise InvalidParameterError(f"'after' names no output item of this run: '{page.after[:80]}'.", "after")
        rows = numbered(
            found.record.blocks,
            self._reader(found),
            after=after,
            standing=status,
            newest_first=page.order == "desc",
        )
        some = list(islice(rows, page.limit + 1))
        items = [item_body(found, criteria, position, row) for position, row in some[: page.limit]]
        return list_body(items, has_more=len(some) > page.limit)

    def _reader(self, found: EvalRun) -> Callable[[str], bytes]:
        return block_reader(self._store, self._settings, found)

    def _rescued_items(self, run_id: str, page: PageQuery, status: Standing | None) -> dict[str, Any]:
        """Of a run that was made elsewhere: as they came, in the order in which they came."""
        where: dict[str, str] = {} if status is None else {"status": status}
        found = self._store.documents(page.documents(RESCUED_ITEM, parent=run_id, where=where))
        return list_body([item.record for item in found.items], has_more=found.has_more)

    def _item(self, call: Call) -> dict[str, Any]:
        eval_id, run_id = _ids(call)
        criteria = find_eval(self._store, eval_id)[1].testing_criteria
        found, wanted = find_run(self._store, run_id, eval_id), call.path_parameter("item_id")
        if found.record.rescued is not None:
            rescued = self._store.document(RESCUED_ITEM, wanted)
            if rescued is None or rescued.parent != run_id:
                raise NotFoundError(f"There is no output item '{wanted[:80]}' of the run {run_id[:80]}.")
            return rescued.record
        position = item_position(run_id, wanted)
        row = None if position is None else row_at(found.record.blocks, position, self._reader(found))
        if position is None or row is None:
            raise NotFoundError(f"There is no output item '{wanted[:80]}' of the run {run_id[:80]} (yet).")
        return item_body(found, criteria, position, row)


def _no_runs() -> list[EvalRun]:
    return []


def base_url(call: Call) -> str:
    """Where the client reached us; the Host header is one of ours, or the call had not come here."""
    return f"{call.scope.get('scheme', 'http')}://{call.headers.get('host', 'localhost')}"


def _ids(call: Call) -> tuple[str, str]:
    return call.path_parameter("eval_id"), call.path_parameter("run_id")


def _one_of(name: str, value: str | None, allowed: tuple[Any, ...]) -> Any:
    if value is None or value in allowed:
        return value
    raise InvalidParameterError(f"'{name}' must be one of {', '.join(allowed)}, got '{value[:40]}'.", name)

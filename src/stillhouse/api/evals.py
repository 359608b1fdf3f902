"""`/v1/evals`: evals made, listed, read, renamed and deleted. Their runs are in `eval_runs`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

from pydantic import Field

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.bodies import json_object, parse_body
from stillhouse.api.describing import one_of, takes
from stillhouse.api.endpoint import Line
from stillhouse.api.eval_objects import eval_body
from stillhouse.api.pages import MAX_PAGE, PageQuery, list_body, page_among
from stillhouse.api.parameters import check_metadata
from stillhouse.chat import ChatRequest, ChatResponse, Chunk
from stillhouse.document import Document, DocumentQuery
from stillhouse.errors import FormatError, InvalidParameterError, NotFoundError, StillhouseError
from stillhouse.eval_config import CustomConfig, DataSourceConfig
from stillhouse.evaluation.schemas import check_schema
from stillhouse.graders.base import Means
from stillhouse.graders.building import build, check, parse_config
from stillhouse.jobs.evals import EVAL, EvalRecord, create_eval, delete_eval, find_eval
from stillhouse.records import Record
from stillhouse.sandbox import Sandbox
from stillhouse.settings import Settings
from stillhouse.stores.base import Store

ALL = "/v1/evals"
ONE = ALL + "/{eval_id}"
MAX_NAME = 256


class NewEval(Record):
    data_source_config: DataSourceConfig
    testing_criteria: list[dict[str, Any]] = Field(min_length=1)
    name: str | None = Field(default=None, max_length=MAX_NAME)
    metadata: Any = None


class EvalChanges(Record):
    name: str | None = Field(default=None, max_length=MAX_NAME)
    metadata: Any = None


class Evals:
    """Handlers; the store is asked in threads."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._means = Means(model=_Later, sandbox=Sandbox() if settings.python_graders else None)

    def routes(self) -> list[Line]:
        return [
            ("POST", ALL, self.create, Policy.KEY),
            ("GET", ALL, self.list, Policy.KEY),
            ("GET", ONE, self.retrieve, Policy.KEY),
            ("POST", ONE, self.update, Policy.KEY),
            ("DELETE", ONE, self.delete, Policy.KEY),
        ]

    @takes(NewEval, status=201)
    async def create(self, call: Call) -> Reply:
        raw = await call.body(self._settings.max_body_bytes)
        record = await asyncio.to_thread(self._read, raw)
        for number, criterion in enumerate(record.testing_criteria):
            await self._try(criterion, f"testing_criteria.{number}")
        return Reply.of(await asyncio.to_thread(lambda: eval_body(create_eval(self._store, record), record)), 201)

    @takes(query={"order_by": one_of("created_at", "updated_at")}, most=MAX_PAGE)
    async def list(self, call: Call) -> Reply:
        page = PageQuery(call.query)
        order_by = _order_by(call.query.get("order_by"))
        return Reply.of(await asyncio.to_thread(self._list, page, order_by))

    async def retrieve(self, call: Call) -> Reply:
        found = await asyncio.to_thread(find_eval, self._store, call.path_parameter("eval_id"))
        return Reply.of(eval_body(*found))

    @takes(EvalChanges)
    async def update(self, call: Call) -> Reply:
        raw = await call.body(self._settings.max_body_bytes)
        return Reply.of(await asyncio.to_thread(self._update, call.path_parameter("eval_id"), raw))

    async def delete(self, call: Call) -> Reply:
        eval_id = call.path_parameter("eval_id")
        await asyncio.to_thread(delete_eval, self._store, self._settings, eval_id)
        return Reply.of({"object": "eval.deleted", "deleted": True, "eval_id": eval_id})

    def _read(self, raw: bytes) -> EvalRecord:
        """The eval that a body asks for. Raises InvalidParameterError."""
        wish, sent = parse_body(NewEval, raw), json_object(raw)
        if isinstance(wish.data_source_config, CustomConfig):
            try:
                check_schema(wish.data_source_config.item_schema)
            except FormatError as exc:
                raise InvalidParameterError(str(exc), "data_source_config.item_schema") from exc
        for number, criterion in enumerate(wish.testing_criteria):
            check_criterion(criterion, f"testing_criteria.{number}")
        return EvalRecord(
            name=wish.name or "",
            metadata=check_metadata(wish.metadata),
            data_source_config=sent["data_source_config"],
            testing_criteria=wish.testing_criteria,
            updated_at=int(time.time()),
        )

    async def _try(self, criterion: dict[str, Any], where: str) -> None:
        """Build its grader, as a run will: judges may come later, all else must be right now. Raises InvalidParameterError."""
        try:
            await check(build(parse_config(criterion, where), self._means))
        except InvalidParameterError:
            raise
        except StillhouseError as exc:
            raise InvalidParameterError(f"{where}: {exc}", where) from exc

    def _list(self, page: PageQuery, order_by: str) -> dict[str, Any]:
        if order_by == "created_at":
            found = self._store.documents(page.documents(EVAL))
            return list_body([_body(document) for document in found.items], has_more=found.has_more)
        every = self._store.documents(DocumentQuery(kind=EVAL, metadata=page.metadata, limit=10**9, order="asc")).items
        return page_among(sorted(map(_body, every), key=lambda body: (body["updated_at"], body["id"])), page)

    def _update(self, eval_id: str, raw: bytes) -> dict[str, Any]:
        wish, sent = parse_body(EvalChanges, raw), json_object(raw or b"{}")
        changes: dict[str, object] = {"updated_at": int(time.time())}
        if "metadata" in sent:
            changes["metadata"] = check_metadata(wish.metadata)
        if wish.name is not None:
            changes["name"] = wish.name
        if self._store.change_document(EVAL, eval_id, changes).result() is None:
            raise NotFoundError(f"There is no eval '{eval_id[:80]}'. See what there is: GET /v1/evals")
        return eval_body(*find_eval(self._store, eval_id))


class _Later:
    """A judge whose name is looked up when a run begins."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def complete(self, request: ChatRequest) -> ChatResponse:
        raise AssertionError("nobody is asked before there is a run")

    def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        raise AssertionError("nobody is asked before there is a run")

    async def close(self) -> None:
        """There is nothing to close."""


def check_criterion(criterion: dict[str, Any], where: str) -> None:
    """Raises InvalidParameterError for a grader that cannot be built from this."""
    config = parse_config(criterion, where)
    if config.type == "text_similarity" and criterion.get("pass_threshold") is None:
        raise InvalidParameterError("A text_similarity criterion needs a 'pass_threshold'.", f"{where}.pass_threshold")


def _body(document: Document) -> dict[str, Any]:
    return eval_body(document, EvalRecord.model_validate(document.record))


def _order_by(value: str | None) -> Literal["created_at", "updated_at"]:
    if value in (None, "created_at"):
        return "created_at"
    if value == "updated_at":
        return "updated_at"
    raise InvalidParameterError(f"'order_by' must be created_at or updated_at, got '{value}'.", "order_by")

"""`/v1/batches`: create, list, retrieve, cancel. What a batch is, and who works it off, stands in `jobs`."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from pydantic import BaseModel

from stillhouse.api.access import Policy
from stillhouse.api.answering import ENDPOINTS
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.bodies import parse_body
from stillhouse.api.describing import takes
from stillhouse.api.endpoint import Line
from stillhouse.api.files import ExpiresAfter
from stillhouse.api.pages import MAX_PAGE, PageQuery, list_body
from stillhouse.api.parameters import check_metadata
from stillhouse.batch import Batch
from stillhouse.errors import InvalidParameterError, NotFoundError
from stillhouse.filing import FileRecord, Filing
from stillhouse.jobs import batches
from stillhouse.settings import Settings
from stillhouse.stores.base import Store

ALL = "/v1/batches"
ONE = ALL + "/{batch_id}"
MAX_BODY_BYTES = 2**20


class NewBatch(BaseModel):
    completion_window: Literal["24h"]
    endpoint: str
    input_file_id: str
    metadata: Any = None
    output_expires_after: ExpiresAfter | None = None


class Batches:
    """Handlers; whatever touches the disk runs in a thread."""

    def __init__(self, store: Store, settings: Settings, filing: Filing) -> None:
        self._store = store
        self._settings = settings
        self._filing = filing

    def routes(self) -> list[Line]:
        return [
            ("POST", ALL, self.create, Policy.KEY),
            ("GET", ALL, self.list, Policy.KEY),
            ("GET", ONE, self.retrieve, Policy.KEY),
            ("POST", ONE + "/cancel", self.cancel, Policy.KEY),
        ]

    @takes(NewBatch)
    async def create(self, call: Call) -> Reply:
        wish = parse_body(NewBatch, await call.body(MAX_BODY_BYTES))
        if wish.endpoint not in ENDPOINTS:
            raise InvalidParameterError(
                f"'endpoint' must be one of {', '.join(ENDPOINTS)}; got '{wish.endpoint[:80]}'.", "endpoint"
            )
        metadata = check_metadata(wish.metadata)
        file = await asyncio.to_thread(self._input, wish.input_file_id)
        seconds = None if wish.output_expires_after is None else wish.output_expires_after.seconds
        batch = await asyncio.to_thread(self._create, file, wish.endpoint, metadata, seconds)
        return Reply.of(batch.body)

    @takes(most=MAX_PAGE)
    async def list(self, call: Call) -> Reply:
        query = PageQuery(call.query, order="desc").documents(batches.KIND)
        found = await asyncio.to_thread(batches.page, self._store, self._settings, query)
        return Reply.of(list_body([batch.body for batch in found.items], has_more=found.has_more))

    async def retrieve(self, call: Call) -> Reply:
        batch_id = call.path_parameter("batch_id")
        return Reply.of((await asyncio.to_thread(batches.look, self._store, self._settings, batch_id)).body)

    async def cancel(self, call: Call) -> Reply:
        batch_id = call.path_parameter("batch_id")
        return Reply.of((await asyncio.to_thread(batches.cancel, self._store, self._settings, batch_id)).body)

    def _create(self, file: FileRecord, endpoint: str, metadata: dict[str, str], seconds: int | None) -> Batch:
        return batches.create(self._store, self._settings, file, endpoint, metadata=metadata, seconds=seconds)

    def _input(self, file_id: str) -> FileRecord:
        try:
            file = self._filing.file(file_id)
        except NotFoundError as exc:
            raise InvalidParameterError(str(exc), "input_file_id") from exc
        if file.purpose != "batch":
            raise InvalidParameterError(
                f"The file '{file.id}' was uploaded for '{file.purpose}'; a batch's input needs the purpose 'batch'.",
                "input_file_id",
            )
        return file

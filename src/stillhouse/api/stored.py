"""Stored Completions as the SDK speaks them: list, retrieve, update, delete, and the messages of one.

Only complete ones exist here. Bodies are read from the bytes that the client got; a stream is put together into one body.
"""

from __future__ import annotations

import asyncio
from typing import Any

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.bodies import json_object
from stillhouse.api.describing import takes
from stillhouse.api.endpoint import Line
from stillhouse.api.pages import MAX_PAGE, PageQuery, list_body, page_among
from stillhouse.api.parameters import check_metadata, list_query
from stillhouse.api.raw_bodies import MetadataBody
from stillhouse.completion import Completion
from stillhouse.errors import InvalidParameterError, NotFoundError
from stillhouse.jobs.forgetting import forget
from stillhouse.settings import Settings
from stillhouse.stores.base import Store
from stillhouse.transcript import assemble, message_text, prompt_messages

ALL = "/v1/chat/completions"
ONE = ALL + "/{completion_id}"
PART_KINDS = ("text", "image_url")
"""Content parts that the stored form has a place for."""


class StoredCompletions:
    """Handlers; reads run in a thread, the event loop goes on."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    def routes(self) -> list[Line]:
        return [
            ("GET", ALL, self.list, Policy.KEY),
            ("GET", ONE, self.retrieve, Policy.KEY),
            ("POST", ONE, self.update, Policy.KEY),
            ("DELETE", ONE, self.delete, Policy.KEY),
            ("GET", ONE + "/messages", self.messages, Policy.KEY),
        ]

    @takes(query={"model": {"type": "string"}}, most=MAX_PAGE)
    async def list(self, call: Call) -> Reply:
        query = list_query(call.query)
        return Reply.of(await asyncio.to_thread(self._list, query))

    def _list(self, query: Any) -> dict[str, Any]:
        page = self._store.completions(query)
        return list_body([self._body(row) for row in page.items], has_more=page.has_more)

    async def retrieve(self, call: Call) -> Reply:
        row = await asyncio.to_thread(self._row, call)
        return Reply.of(await asyncio.to_thread(self._body, row))

    @takes(MetadataBody)
    async def update(self, call: Call) -> Reply:
        body = json_object(await call.body(self._settings.max_body_bytes))
        if "metadata" not in body:
            raise InvalidParameterError("Only 'metadata' can be changed, and it is missing.", "metadata")
        metadata = check_metadata(body["metadata"])
        row = await asyncio.to_thread(self._row, call)
        await asyncio.wrap_future(self._store.set_metadata(row.id, metadata))
        return await self.retrieve(call)

    async def delete(self, call: Call) -> Reply:
        row = await asyncio.to_thread(self._row, call)
        forgotten = await asyncio.to_thread(forget, self._store, self._settings, [row.id])
        return Reply.of({"object": "chat.completion.deleted", "id": row.id, "deleted": True, "stillhouse": forgotten.reach})

    @takes(most=MAX_PAGE)
    async def messages(self, call: Call) -> Reply:
        page = PageQuery(call.query)
        row = await asyncio.to_thread(self._row, call)
        payload = await asyncio.to_thread(self._store.payload, row.id)
        messages = [_stored_message(row.id, i, m) for i, m in enumerate(prompt_messages(payload.request if payload else b""))]
        return Reply.of(page_among(messages, page))

    def _row(self, call: Call) -> Completion:
        identifier = call.path_parameter("completion_id")
        row = self._store.completion(identifier)
        if row is None or row.state != "complete":
            state = "" if row is None else f" It is {row.state}, so it is not among the stored completions."
            raise NotFoundError(f"There is no stored completion '{identifier[:80]}'.{state}")
        return row

    def _body(self, row: Completion) -> dict[str, Any]:
        payload = self._store.payload(row.id)
        body = assemble(payload.response or b"", row.stream) if payload else {}
        return {"created": row.created, "choices": [], "model": row.model, **body,
                "id": row.id, "object": "chat.completion", "metadata": row.metadata}  # fmt: skip


def _stored_message(completion_id: str, index: int, message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    stored = {**message, "id": f"{completion_id}-{index}", "refusal": message.get("refusal"), "content_parts": None}
    if isinstance(content, list):
        stored["content"] = message_text(message)
        stored["content_parts"] = [part for part in content if isinstance(part, dict) and part.get("type") in PART_KINDS]
    elif content is None:
        stored["content"] = None
    return stored

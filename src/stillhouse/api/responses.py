"""The Responses API: `POST /v1/responses` is a chat request in other words, so it goes to the same models and is captured alike.

A stored response keeps what was asked (a document) and names the completion that holds the answer's bytes: reading it translates
those again, so nothing is kept twice and a response is `completed` exactly when its completion is on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply, json_bytes
from stillhouse.api.bodies import json_object
from stillhouse.api.describing import takes
from stillhouse.api.endpoint import Line
from stillhouse.api.forwarding import answer_forwarded
from stillhouse.api.pages import MAX_PAGE, PageQuery, page_among
from stillhouse.api.parameters import check_common
from stillhouse.api.raw_bodies import ResponsesBody
from stillhouse.api.streams import serve_stream
from stillhouse.capture import Capture, Origin, Recorder
from stillhouse.chat import ChatRequest, Chunk, Message
from stillhouse.document import Document
from stillhouse.errors import InvalidParameterError, NotFoundError, StillhouseError, UsageError
from stillhouse.ids import new_id
from stillhouse.jobs.forgetting import forget
from stillhouse.responses import Events, answered, chat_request, failed, input_items, messages_of, skeleton
from stillhouse.routing import Router
from stillhouse.settings import Settings
from stillhouse.stores.base import Store
from stillhouse.transcript import assemble

ALL = "/v1/responses"
ONE = ALL + "/{response_id}"
COUNTED = "/input_tokens"
KIND = "response"
LONGEST = 1000
"""Responses that may follow one another by `previous_response_id`."""


class Responses:
    """Handlers; reads run in a thread, the event loop goes on."""

    def __init__(self, router: Router, recorder: Recorder, store: Store, settings: Settings) -> None:
        self._router = router
        self._recorder = recorder
        self._store = store
        self._settings = settings

    def routes(self) -> list[Line]:
        return [
            ("POST", ALL, self.create, Policy.KEY),
            ("POST", ALL + COUNTED, self.count, Policy.KEY),
            ("GET", ONE, self.retrieve, Policy.KEY),
            ("DELETE", ONE, self.delete, Policy.KEY),
            ("POST", ONE + "/cancel", self.cancel, Policy.KEY),
            ("GET", ONE + "/input_items", self.items, Policy.KEY),
        ]

    @takes(ResponsesBody)
    async def create(self, call: Call) -> Reply | None:
        body = json_object(await call.body(self._settings.max_body_bytes))
        check_common(body)
        stored = body.get("store") is not False  # unlike in chat, where nothing is kept that was not asked to be
        history = await asyncio.to_thread(self._history, body.get("previous_response_id"))
        asked = {**chat_request(body, history), "store": stored}
        request = ChatRequest(json_bytes(asked), call.headers)
        target = self._router.resolve(request.model)
        capture = Capture(target.model, self._recorder, Origin(target.upstream, target.name, target.may_train))
        if not request.stream:
            response = await capture.complete(request)
            begun = await self._begin(body, response.body, stored=stored)
            return Reply(200, json_bytes(answered(begun, response.body)), response.headers)
        events = capture.record_stream(request) if stored else capture.stream(request)
        await serve_stream(call, events, self._said(events, body, stored=stored))
        return None

    @takes(ResponsesBody)
    async def count(self, call: Call) -> Reply:
        """How many tokens a request's input is. An upstream is asked at the same path; a student reads it and says one token."""
        body = json_object(await call.body(self._settings.max_body_bytes))
        check_common(body)
        request = ChatRequest(json_bytes(body), call.headers)
        target = self._router.resolve(request.model)
        if target.forwarder is not None:
            if body.get("previous_response_id") is not None:
                raise InvalidParameterError(
                    f"'{target.upstream}' counts its own tokens and knows none of the responses kept here: send the whole input.",
                    "previous_response_id",
                )
            response = await answer_forwarded(target, "/responses" + COUNTED, request, self._recorder)
            return Reply(200, response.raw, response.headers)
        history = await asyncio.to_thread(self._history, body.get("previous_response_id"))
        asked = {**chat_request(body, history), "max_completion_tokens": 1, "store": False, "stream": False}
        capture = Capture(target.model, self._recorder, Origin(target.upstream, target.name, target.may_train))
        answer = await capture.complete(ChatRequest(json_bytes(asked), call.headers))
        return Reply.of({"object": "response.input_tokens", "input_tokens": answer.usage.prompt_tokens or 0})

    async def retrieve(self, call: Call) -> Reply:
        if call.query.get("stream") == "true":
            raise InvalidParameterError("A response that is stored is read whole: leave out 'stream'.", "stream")
        document = await asyncio.to_thread(self._document, call.path_parameter("response_id"))
        return Reply.of(await asyncio.to_thread(self._body, document))

    async def delete(self, call: Call) -> Reply:
        """With the completion that holds its answer: who deletes a response wants its text gone."""
        document = await asyncio.to_thread(self._document, call.path_parameter("response_id"))
        forgotten = await asyncio.to_thread(forget, self._store, self._settings, [document.record["completion"]])
        await asyncio.wrap_future(self._store.delete_document(KIND, document.id))
        return Reply.of({"id": document.id, "object": "response", "deleted": True, "stillhouse": forgotten.reach})

    async def cancel(self, call: Call) -> Reply:
        await asyncio.to_thread(self._document, call.path_parameter("response_id"))
        raise UsageError("Only responses that run in the background can be cancelled, and here none does: close the connection.")

    @takes(most=MAX_PAGE)
    async def items(self, call: Call) -> Reply:
        page = PageQuery(call.query, order="desc")
        document = await asyncio.to_thread(self._document, call.path_parameter("response_id"))
        listed = [_listed(document.id, index, item) for index, item in enumerate(input_items(document.record["asked"]))]
        return Reply.of(page_among(listed, page))

    async def _begin(self, body: dict[str, Any], said: dict[str, Any], *, stored: bool) -> dict[str, Any]:
        """The response under the id that belongs to its completion, kept where it is to be. Raises StoreError."""
        completion = str(said.get("id"))
        identifier = f"resp_{completion.removeprefix('chatcmpl-')}" if stored else new_id("resp").replace("-", "_")
        created = said.get("created")
        begun = skeleton(body, id=identifier, created=created if isinstance(created, int) else 0)
        if stored:
            record = {"asked": body, "completion": completion, "metadata": begun["metadata"]}
            document = Document(kind=KIND, id=identifier, created=begun["created_at"], record=record)
            await asyncio.wrap_future(self._store.put_document(document))
        return begun

    async def _said(self, events: AsyncIterator[Chunk], body: dict[str, Any], *, stored: bool) -> AsyncIterator[Chunk]:
        """The chat's chunks as events of a response; what fails before the first is an ordinary error."""
        saying: Events | None = None
        try:
            async for chunk in events:
                if chunk.is_done and saying is not None:
                    for event in saying.end():
                        yield event
                elif chunk.body is not None:
                    if "error" in chunk.body:
                        raise StillhouseError(f"The upstream broke off: {str(chunk.body['error'])[:200]}")
                    if saying is None:
                        saying = Events(await self._begin(body, chunk.body, stored=stored))
                        for event in saying.begin():
                            yield event
                    for event in saying.feed(chunk):
                        yield event
        except StillhouseError as exc:
            if saying is None:
                raise
            yield saying.fail(str(exc))

    def _document(self, identifier: str) -> Document:
        document = self._store.document(KIND, identifier)
        if document is None:
            raise NotFoundError(f"Response with id '{identifier[:80]}' not found.")
        return document

    def _body(self, document: Document) -> dict[str, Any]:
        begun = skeleton(document.record["asked"], id=document.id, created=document.created)
        row = self._store.completion(document.record["completion"])
        if row is None:
            raise NotFoundError(f"The completion that held the answer of response '{document.id}' was deleted.")
        if row.state == "started":
            return begun
        if row.state != "complete":
            return failed(begun, row.error or f"The answer is not whole: it was {row.state}.")
        payload = self._store.payload(row.id)
        return answered(begun, assemble(payload.response or b"", row.stream) if payload else {})

    def _history(self, previous: Any) -> list[Message]:
        """The messages of the responses that went before, oldest first; instructions are not carried over."""
        turns: list[list[Message]] = []
        while previous is not None:
            try:
                document = self._document(str(previous))
            except NotFoundError as exc:
                raise InvalidParameterError(
                    f"Previous response with id '{str(previous)[:80]}' not found.", "previous_response_id"
                ) from exc
            output = self._body(document)["output"]
            turns.append(messages_of([*input_items(document.record["asked"]), *output]))
            previous = document.record["asked"].get("previous_response_id")
            if len(turns) > LONGEST:
                raise InvalidParameterError(f"More than {LONGEST} responses follow one another.", "previous_response_id")
        return [message for turn in reversed(turns) for message in turn]


def _listed(response_id: str, index: int, item: dict[str, Any]) -> dict[str, Any]:
    """An input item as lists show it: with an id, and its content as parts."""
    shown = {"id": f"item_{response_id.removeprefix('resp_')}_{index}", "status": "completed", **item}
    if isinstance(shown.get("content"), str):
        kind = "output_text" if shown.get("role") == "assistant" else "input_text"
        shown["content"] = [{"type": kind, "text": shown["content"]}]
    for part in shown.get("content") or ():
        if part.get("type") == "output_text":
            part.setdefault("annotations", [])
        if part.get("type") == "input_image":
            part.setdefault("detail", "auto")
    return shown

"""`POST /v1/chat/completions`: one request in, one model asked, its answer out. What was stored is read in `stored`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply, start
from stillhouse.api.endpoint import Line
from stillhouse.api.errors import error_event
from stillhouse.api.parameters import check_request
from stillhouse.capture import Capture, Origin, RecordedStream, Recorder
from stillhouse.chat import ChatRequest, Chunk
from stillhouse.errors import StillhouseError
from stillhouse.routing import Router

log = logging.getLogger(__name__)

STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}


class Completions:
    """Handler of the one route that all traffic takes."""

    def __init__(self, router: Router, recorder: Recorder, max_body_bytes: int) -> None:
        self._router = router
        self._recorder = recorder
        self._max_body_bytes = max_body_bytes

    def routes(self) -> list[Line]:
        return [
            ("POST", "/v1/chat/completions", self.create, Policy.KEY),
        ]

    async def create(self, call: Call) -> Reply | None:
        request = ChatRequest(await call.body(self._max_body_bytes), call.headers)
        check_request(request)
        target = self._router.resolve(request.model)
        capture = Capture(target.model, self._recorder, Origin(target.upstream, target.name, target.may_train))
        if not request.stream:
            response = await capture.complete(request)
            return Reply(200, response.raw, response.headers)
        events = capture.record_stream(request) if request.store else capture.stream(request)
        await _serve_events(call, events)
        return None


async def _serve_events(call: Call, events: AsyncIterator[Chunk]) -> None:
    """Send until the stream ends or the client leaves. What is recorded goes on without it, what is not is broken off."""
    sending = asyncio.ensure_future(_send_events(call, events))
    leaving = asyncio.ensure_future(_disconnect(call))
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            await sending
    finally:
        if isinstance(events, RecordedStream):
            events.leave()
        sending.cancel()
        leaving.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


async def _send_events(call: Call, events: AsyncIterator[Chunk]) -> None:
    """Events as they come. The status waits for the first one: until then a failure is an ordinary error response."""
    first = await anext(events, None)
    headers = events.headers if isinstance(events, RecordedStream) else {}
    await call.send(start(200, {**STREAM_HEADERS, **headers}))
    try:
        if first is not None:
            await _send(call, first.raw)
        async for chunk in events:
            await _send(call, chunk.raw)
    except StillhouseError as exc:
        await _send(call, error_event(exc))
    except Exception:
        log.exception("a stream failed")
        await _send(call, error_event(StillhouseError("The server failed on this request; its log says why.")))
    await call.send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send(call: Call, data: bytes) -> None:
    await call.send({"type": "http.response.body", "body": data, "more_body": True})


async def _disconnect(call: Call) -> None:
    while (await call.receive())["type"] != "http.disconnect":
        pass

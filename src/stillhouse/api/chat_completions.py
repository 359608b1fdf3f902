"""`POST /v1/chat/completions`: one request in, one model asked, its answer out. What was stored is read in `stored`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from stillhouse.api.asgi import Call, Reply, start
from stillhouse.api.errors import error_event
from stillhouse.api.parameters import check_request
from stillhouse.capture import Capture, Origin, RecordedStream, Recorder
from stillhouse.chat import ChatRequest, Chunk
from stillhouse.errors import StillhouseError
from stillhouse.routing import Router

STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}


class Completions:
    """Handler of the one route that all traffic takes."""

    def __init__(self, router: Router, recorder: Recorder, max_body_bytes: int) -> None:
        self._router = router
        self._recorder = recorder
        self._max_body_bytes = max_body_bytes

    async def create(self, call: Call) -> Reply | None:
        request = ChatRequest(await call.body(self._max_body_bytes), call.headers)
        check_request(request)
        target = self._router.resolve(request.model)
        capture = Capture(target.model, self._recorder, Origin(target.upstream, target.name, target.may_train))
        if not request.stream:
            response = await capture.complete(request)
            return Reply(200, response.raw, response.headers)
        if not request.store:
            await _send_events(call, capture.stream(request), {})
            return None
        recorded = capture.record_stream(request)
        watch = asyncio.create_task(_watch(call, recorded))
        try:
            await _send_events(call, recorded, recorded)
        finally:
            recorded.leave()
            watch.cancel()
        return None


async def _send_events(call: Call, events: AsyncIterator[Chunk], recorded: RecordedStream | dict[str, str]) -> None:
    """Events as they come. The status waits for the first one: until then a failure is an ordinary error response."""
    first = await anext(events, None)
    headers = recorded.headers if isinstance(recorded, RecordedStream) else recorded
    await call.send(start(200, {**STREAM_HEADERS, **headers}))
    try:
        if first is not None:
            await _send(call, first.raw)
        async for chunk in events:
            await _send(call, chunk.raw)
    except StillhouseError as exc:
        await _send(call, error_event(exc))
    await call.send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send(call: Call, data: bytes) -> None:
    await call.send({"type": "http.response.body", "body": data, "more_body": True})


async def _watch(call: Call, recorded: RecordedStream) -> None:
    """Tell the recording when the client leaves."""
    with contextlib.suppress(asyncio.CancelledError):
        while (await call.receive())["type"] != "http.disconnect":
            pass
        recorded.leave()

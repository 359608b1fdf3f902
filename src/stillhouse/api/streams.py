"""An answer as server-sent events: sent until it ends or the client leaves.

What is recorded goes on without the client; what is not is broken off. An event may be sent as it came, or translated.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from stillhouse.api.asgi import Call, start
from stillhouse.api.errors import error_event
from stillhouse.capture import RecordedStream
from stillhouse.chat import Chunk
from stillhouse.errors import StillhouseError

log = logging.getLogger(__name__)

STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}


async def serve_stream(call: Call, events: AsyncIterator[Chunk], said: AsyncIterator[Chunk] | None = None) -> None:
    """Send `events`, or `said`, which is what they are translated to; returns when all is sent or the client has left."""
    sending = asyncio.ensure_future(_send_events(call, events, said or events))
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


async def _send_events(call: Call, events: AsyncIterator[Chunk], said: AsyncIterator[Chunk]) -> None:
    """Events as they come. The status waits for the first one: until then a failure is an ordinary error response."""
    first = await anext(said, None)
    headers = events.headers if isinstance(events, RecordedStream) else {}
    await call.send(start(200, {**STREAM_HEADERS, **headers}))
    try:
        if first is not None:
            await _send(call, first.raw)
        async for chunk in said:
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

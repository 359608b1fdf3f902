"""An ASGI application called without sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

from stillhouse.app import App

HOST = {"host": "localhost:8321"}


class Answer:
    """What the application sent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def call(
    app: App,
    method: str,
    path: str,
    body: bytes | dict[str, Any] = b"",
    headers: dict[str, str] | None = None,
    *,
    parts: list[bytes] | None = None,
    leave_after: int | None = None,
) -> Answer:
    """One request. `leave_after`: the client is gone once it has so many parts of the answer."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    path, _, query = path.partition("?")
    given = {**HOST, "content-type": "application/json", **(headers or {})}
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(), "root_path": "",
        "query_string": query.encode(), "scheme": "http", "server": ("localhost", 8321), "client": ("127.0.0.1", 5),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
    }  # fmt: skip
    answer = Answer()
    sending = list(parts if parts is not None else [raw])
    left = asyncio.Event()

    async def receive() -> MutableMapping[str, Any]:
        if sending:
            part = sending.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(sending)}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if left.is_set():
            return
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
        elif message.get("body"):
            answer.parts.append(message["body"])
            if leave_after is not None and len(answer.parts) >= leave_after:
                left.set()
                await asyncio.sleep(0)

    await app(scope, receive, send)
    return answer


@contextlib.asynccontextmanager
async def running(app: App) -> AsyncIterator[App]:
    """The application's lifespan."""
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    started = await from_app.get()
    assert started["type"] == "lifespan.startup.complete", started
    try:
        yield app
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        stopped = await from_app.get()
        await task
    assert stopped["type"] == "lifespan.shutdown.complete", stopped

"""The HTTP server around the application: uvicorn, with deadlines that it lacks, and an orderly end.

A client that sends its headers slowly is cut off; a body's deadline stands with its cap, in `api/asgi.py`. On SIGTERM no new
connection is taken, requests under way are finished, and the process ends with 0.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from stillhouse.errors import UsageError
from stillhouse.settings import Settings

HEAD_SECONDS = 10.0
"""For the request line and the headers to arrive."""
MAX_HEAD_BYTES = 64 * 1024
GRACE_SECONDS = 30
KEEP_ALIVE_SECONDS = 75
BACKLOG = 2048


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which waits for ever on a slow client, with a deadline and a cap for the head of a request."""

    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        if self._deadline is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._deadline is not None and self._head_bytes > MAX_HEAD_BYTES:
            self._cut_off()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:
            self._arm()

    def on_headers_complete(self) -> None:
        self._disarm()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._head_bytes = 0
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._cut_off)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut_off(self) -> None:
        self._disarm()
        self.transport.abort()


class Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def bind(settings: Settings) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises UsageError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host.strip("[]"), settings.port))
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        raise UsageError(f"Cannot listen on {settings.host}:{settings.port}: {exc.strerror}. Choose another: --port N.") from exc
    return listener


def url_of(listener: socket.socket) -> str:
    """Where clients of this machine reach it."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # every address: this one is among them
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(app: Any, ready: Callable[[], None]) -> Server:
    """The server, not yet running; `server.should_exit = True` ends it, from any thread."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return Server(config, ready)


def run(server: Server, listener: socket.socket) -> None:
    """Serve until SIGTERM, SIGINT or `should_exit`, then return."""
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again at its end: by then there is nothing to do
        signal.signal(number, _already_handled)
    server.run(sockets=[listener])


def _already_handled(number: int, frame: FrameType | None) -> None:
    pass

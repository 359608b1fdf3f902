"""The little HTTP that the routes need: a call, a reply, and the body read under a cap. ASGI messages, nothing above them.

Starlette's Request and Response are left out of the way of every completion; its router is used.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

import orjson

from stillhouse.errors import UsageError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_SECONDS = 30.0
"""A body that takes longer to arrive is refused; of one that is read in pieces, each piece."""
PIECE = 64 * 1024
"""Bytes of a body, or of a file, that are handled at once."""


class BodyTooLargeError(UsageError):
    """The request body is over the cap."""

    http_status = 413
    code = "request_too_large"


class BodyTooSlowError(UsageError):
    """The request body did not arrive in time."""

    http_status = 408
    code = "request_timeout"


class ClientGoneError(Exception):
    """The client left before its request was whole: nobody is there to answer."""


class Reply:
    """A whole answer."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = {"content-type": "application/json", **(headers or {})}

    @classmethod
    def of(cls, value: Any, status: int = 200) -> Reply:
        return cls(status, json_bytes(value))

    async def send(self, send: Send) -> None:
        await send(start(self.status, {**self.headers, "content-length": str(len(self.body))}))
        await send({"type": "http.response.body", "body": self.body})


def json_bytes(value: Any) -> bytes:
    """A value as JSON."""
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate somewhere (see chat.parse_json): it leaves as the escape that it came as
        return json.dumps(value).encode()


def start(status: int, headers: dict[str, str]) -> dict[str, Any]:
    """The message that begins a response."""
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()],
    }


class Call:
    """One request as it came. `scope["path"]`, never a URL put together from the Host header, says what is meant."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send

    @cached_property
    def headers(self) -> dict[str, str]:
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.scope["headers"]}

    @cached_property
    def query(self) -> dict[str, str]:
        """The last value of each parameter."""
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True))

    @property
    def announced(self) -> int:
        """The body's length as its headers give it; 0 where they do not."""
        length = self.headers.get("content-length", "")
        return int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else 0

    def path_parameter(self, name: str) -> str:
        return str(self.scope["path_params"][name])

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises BodyTooLargeError as soon as it passes `limit`, BodyTooSlowError, ClientGoneError."""
        self.refuse_announced(limit)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._read(limit)
        except TimeoutError as exc:
            raise BodyTooSlowError(f"The request body did not arrive within {BODY_SECONDS:g} seconds.") from exc

    def refuse_announced(self, limit: int) -> None:
        """Raises BodyTooLargeError where the headers already say that the body passes `limit`."""
        if self.announced > limit:
            raise BodyTooLargeError(f"The request body has {self.announced} bytes; at most {limit} are allowed.")

    async def pieces(self, limit: int) -> AsyncIterator[bytes]:
        """The body as it comes, a piece at a time. Raises as `body` does."""
        self.refuse_announced(limit)
        size, more = 0, True
        while more:
            piece = bytearray()
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    while more and len(piece) < PIECE:
                        part, more = await self._receive()
                        piece += part
            except TimeoutError as exc:
                raise BodyTooSlowError(f"{BODY_SECONDS:g} seconds brought less than {PIECE} bytes of the request body.") from exc
            size += len(piece)
            if size > limit:
                raise BodyTooLargeError(f"The request body has more than {limit} bytes, which is the most allowed.")
            yield bytes(piece)

    async def _receive(self) -> tuple[bytes, bool]:
        """A part of the body, and whether more follows. Raises ClientGoneError."""
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        return message.get("body", b""), message.get("more_body", False)

    async def _read(self, limit: int) -> bytes:
        parts, size, more = [], 0, True
        while more:
            part, more = await self._receive()
            size += len(part)
            if size > limit:
                raise BodyTooLargeError(f"The request body has more than {limit} bytes, which is the most allowed.")
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

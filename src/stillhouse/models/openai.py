"""A ChatModel over HTTP: any server that speaks OpenAI's chat completions API.

Bytes go out and come back untouched. It asks again only while nothing of an answer has come, follows no redirect, and sends no
credential but the upstream's own, read from the environment at the moment it is needed. Keeping what passes is `capture`'s.
The client is aiohttp because it was the fastest measured: docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from stillhouse.chat import ChatRequest, ChatResponse, Chunk
from stillhouse.errors import StreamBrokenError, UpstreamError, UpstreamTimeoutError
from stillhouse.sse import EventSplitter
from stillhouse.upstream import Upstream

CHAT = "/chat/completions"
MAX_RESPONSE_BYTES = 64 * 2**20
"""Of one answer, decompressed."""
MAX_FILE_BYTES = 4 * 2**30
"""Of one file that is downloaded line by line."""
MAX_ERROR_BYTES = 2**20
MAX_RETRY_AFTER = 30.0
"""Seconds; an upstream that asks for more patience has its answer passed on instead."""
BATCH_NAME = "stillhouse_batch"
"""Metadata of the batches that are made here, by which one is found again whose id a crash has lost."""
RETRIED = frozenset({429, 500, 502, 503, 504})
FEW_PATHS = 4
"""Paths that are asked again and again, whose URLs are parsed once."""
AFTER_DONE = 1.0
"""Seconds the upstream gets to close the stream after its end marker, so that the connection can be used again."""

PASSED_ON = frozenset({"openai-beta", "idempotency-key", "traceparent", "tracestate"})
"""Headers of the client that the upstream sees. A credential is never among them."""
ANSWERED = ("content-type", "retry-after", "retry-after-ms", "x-should-retry", "x-request-id")
"""Headers of the upstream's refusal that the client sees."""
RATE_LIMIT = "x-ratelimit-"
"""What headers begin with that say how much is left of the upstream's limits. Whoever asks sees them, also of an answer."""


class OpenAIModel:
    """One upstream and its pool of connections. Bound to the event loop it is first used in."""

    def __init__(self, upstream: Upstream, environ: Mapping[str, str] = os.environ) -> None:
        self._upstream = upstream
        self._environ = environ
        self._urls: dict[str, URL] = {}
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, request: ChatRequest) -> ChatResponse:
        return await self.forward(CHAT, request)

    def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        return self.forward_stream(CHAT, request)

    async def forward(self, path: str, request: ChatRequest) -> ChatResponse:
        response = await self._open(path, request)
        async with response:
            raw = b"".join([part async for part in self._parts(response, b"")])
            kind = response.headers.get("content-type", "application/json")
            return ChatResponse(raw, {"content-type": kind, **_rate_limits(response)})

    async def forward_stream(self, path: str, request: ChatRequest) -> AsyncIterator[Chunk]:
        response = await self._open(path, request)
        splitter, done = EventSplitter(), False
        async with response:
            async for part in self._parts(response, None):
                for chunk in splitter.feed(part):
                    yield chunk
                    done = done or chunk.is_done
                if done:
                    await _let_it_end(response)
                    return
        rest = splitter.end()
        if rest is not None:
            yield rest

    async def list_models(self) -> list[str]:
        """The ids it lists at /models. Raises UpstreamError."""
        listed = (await self._json("GET", "/models", None)).get("data")
        found = listed if isinstance(listed, list) else []
        return [str(model["id"]) for model in found if isinstance(model, dict) and "id" in model]

    async def upload(self, path: Path, purpose: str) -> str:
        """The id of a file that is now theirs. Raises UpstreamError."""
        with path.open("rb") as file:
            form = aiohttp.FormData({"purpose": purpose})
            form.add_field("file", file, filename=path.name, content_type="application/jsonl")
            return str((await self._json("POST", "/files", form)).get("id"))

    async def create_batch(self, file: str, name: str) -> dict[str, Any]:
        """A batch of the chat requests in an uploaded file, known by `name` in its metadata. Raises UpstreamError."""
        wanted = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        return await self._json("POST", "/batches", orjson.dumps({**wanted, "metadata": {BATCH_NAME: name}}))

    async def batch(self, identifier: str) -> dict[str, Any]:
        """How a batch stands. Raises UpstreamError."""
        return await self._json("GET", f"/batches/{quote(identifier, safe='')}", None)

    async def find_batch(self, name: str) -> dict[str, Any] | None:
        """The batch that was made under `name`. Raises UpstreamError."""
        after = ""
        while True:
            page = await self._json("GET", f"/batches?limit=100{after}", None)
            listed = [batch for batch in page.get("data") or [] if isinstance(batch, dict)]
            for batch in listed:
                if (batch.get("metadata") or {}).get(BATCH_NAME) == name:
                    return batch
            if not listed or not page.get("has_more"):
                return None
            after = f"&after={quote(str(listed[-1].get('id')), safe='')}"

    async def download(self, file: str) -> AsyncIterator[bytes]:
        """A file's lines. Raises UpstreamError."""
        response = await self._ask("GET", f"/files/{quote(file, safe='')}/content", None, self._headers({}), 1)
        rest = b""
        async with response:
            async for part in self._parts(response, None, limit=MAX_FILE_BYTES):
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    yield line
        if rest:
            yield rest

    async def send(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Any other request of its API, asked once; the answer's body. Raises UpstreamError."""
        response = await self._ask(method, path, body, self._headers({}), 1)
        async with response:
            return b"".join([part async for part in self._parts(response, b"")])

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _json(self, method: str, path: str, body: bytes | aiohttp.FormData | None) -> dict[str, Any]:
        headers = self._headers({})
        if isinstance(body, aiohttp.FormData):
            del headers["content-type"]  # its own names the boundary
        response = await self._ask(method, path, body, headers, 1)
        async with response:
            return ChatResponse(b"".join([part async for part in self._parts(response, b"")])).body

    async def _open(self, path: str, request: ChatRequest) -> aiohttp.ClientResponse:
        """The response once its status is a success. Raises UpstreamError with what was said instead."""
        for attempt in range(1, self._upstream.max_retries + 2):
            last = attempt > self._upstream.max_retries
            try:
                return await self._ask("POST", path, request.raw, self._headers(request.headers), attempt)
            except UpstreamTimeoutError:
                raise  # the upstream may be at work still: asking twice would make it worse
            except UpstreamError as exc:
                wait = _pause(exc, attempt)
                if last or wait is None or (exc.status is not None and exc.status not in RETRIED):
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    async def _ask(
        self, method: str, path: str, body: bytes | aiohttp.FormData | None, headers: dict[str, str], attempt: int
    ) -> aiohttp.ClientResponse:
        name = self._upstream.name
        try:
            async with asyncio.timeout(self._upstream.timeouts.connect + self._upstream.timeouts.first_byte):
                response = await self._pool().request(method, self._url(path), data=body, headers=headers, allow_redirects=False)
        except aiohttp.ConnectionTimeoutError as exc:
            raise UpstreamTimeoutError(f"Upstream '{name}' could not be reached in time.", attempts=attempt) from exc
        except TimeoutError as exc:
            raise UpstreamTimeoutError(f"Upstream '{name}' did not begin to answer in time.", attempts=attempt) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise UpstreamError(f"Upstream '{name}' cannot be reached: {_reason(exc)}.", attempts=attempt) from exc
        if response.status not in (200, 201):
            raise await self._refusal(response, attempt)
        return response

    async def _refusal(self, response: aiohttp.ClientResponse, attempt: int) -> UpstreamError:
        async with response:
            try:
                async with asyncio.timeout(self._upstream.timeouts.idle):
                    body = await response.content.read(MAX_ERROR_BYTES)
            except (TimeoutError, aiohttp.ClientError):
                body = b""
            said = f"Upstream '{self._upstream.name}' answered {response.status}."
            if response.status < 400:
                return UpstreamError(f"{said} Redirects are not followed: correct the base URL.", attempts=attempt)
            headers = {name: response.headers[name] for name in ANSWERED if name in response.headers}
            headers.update(_rate_limits(response))
            return UpstreamError(said, status=response.status, body=body, headers=headers, attempts=attempt)

    async def _parts(
        self, response: aiohttp.ClientResponse, kept: bytes | None, limit: int | None = None
    ) -> AsyncIterator[bytes]:
        """The body as it comes. `kept` (b"" to begin with) collects it for the error, None does not."""
        name, total, seconds = self._upstream.name, 0, self._upstream.timeouts.first_byte
        limit = MAX_RESPONSE_BYTES if limit is None else limit
        try:
            while True:
                part = response.content.read_nowait()  # most answers are here with their headers, and need no clock
                if not part and not response.content.at_eof():
                    async with asyncio.timeout(seconds):
                        part = await response.content.readany()
                if not part:
                    return
                total, seconds = total + len(part), self._upstream.timeouts.idle
                if total > limit:
                    raise StreamBrokenError(f"Upstream '{name}' sent more than {limit} bytes.", body=kept or b"")
                kept = None if kept is None else kept + part
                yield part
        except TimeoutError as exc:
            raise UpstreamTimeoutError(f"Upstream '{name}' sent nothing for {seconds:g} s.", body=kept or b"") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise StreamBrokenError(f"Upstream '{name}' broke off its answer: {_reason(exc)}.", body=kept or b"") from exc

    def _headers(self, given: Mapping[str, str]) -> dict[str, str]:
        headers = {name: value for name, value in given.items() if name in PASSED_ON}
        headers["content-type"] = "application/json"
        headers["accept-encoding"] = "identity"
        variable = self._upstream.api_key_env
        if variable:
            key = self._environ.get(variable)
            if not key:
                raise UpstreamError(f"Upstream '{self._upstream.name}' needs a key: set {variable} where the server is started.")
            headers["authorization"] = f"Bearer {key}"
        return headers

    def _url(self, path: str) -> URL:
        if path not in self._urls and len(self._urls) < FEW_PATHS:
            self._urls[path] = URL(self._upstream.base_url.rstrip("/") + path, encoded=True)
        return self._urls.get(path) or URL(self._upstream.base_url.rstrip("/") + path, encoded=True)

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._upstream.timeouts.connect),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("accept",),
            )
        return self._session


def _rate_limits(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items() if name.lower().startswith(RATE_LIMIT)}


async def _let_it_end(response: aiohttp.ClientResponse) -> None:
    try:
        async with asyncio.timeout(AFTER_DONE):
            while await response.content.readany():
                pass
    except (TimeoutError, aiohttp.ClientError, OSError):
        response.close()


def _pause(exc: UpstreamError, attempt: int) -> float | None:
    """Seconds to wait before the next attempt; None when the upstream asks for more than we wait."""
    header, scale = ("retry-after-ms", 0.001) if "retry-after-ms" in exc.headers else ("retry-after", 1.0)
    try:
        asked = float(exc.headers[header]) * scale
    except (KeyError, ValueError):
        return min(0.5 * 2.0 ** (attempt - 1), 8.0) * random.uniform(0.75, 1.0)
    return asked if 0 <= asked <= MAX_RETRY_AFTER else None


def _reason(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__

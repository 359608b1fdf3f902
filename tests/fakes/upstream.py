"""A server that speaks OpenAI's chat API and does everything that can go wrong, on request.

It runs in a thread of its own. The request itself says the fault, in a field `fault` that the gateway must pass on untouched.
What it was asked and what it sent stands in `ledger`, out of the reach of the program under test.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import re
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

CHUNK = 5
"""Characters of the text in one event."""


@dataclass
class Served:
    """One request, and what was sent of the answer."""

    path: str
    headers: dict[str, str]
    raw: bytes
    body: dict[str, Any]
    sent: bytes = b""
    whole: bool = False
    times: list[float] = field(default_factory=list)


class FakeUpstream:
    """`with FakeUpstream() as upstream:`; `upstream.base_url` is for the client."""

    def __init__(self) -> None:
        self.ledger: list[Served] = []
        self.connections = 0
        self.release = threading.Event()
        """Ends a `stall` and a `wait`."""
        self.seen = threading.Condition()
        self._asked: Counter[str] = Counter()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> FakeUpstream:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.release.set()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def wait_for(self, count: int) -> None:
        """Until so many requests have come."""
        with self.seen:
            assert self.seen.wait_for(lambda: len(self.ledger) >= count, 60)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            self.connections += 1
            try:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                    while await self._exchange(reader, writer):
                        pass
            finally:
                tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection may be used again."""
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        served = Served(lines[0].split(" ")[1], headers, raw, json.loads(raw) if raw else {})
        with self.seen:
            self.ledger.append(served)
            self.seen.notify_all()
        return await self._answer(served, writer)

    async def _answer(self, served: Served, writer: asyncio.StreamWriter) -> bool:
        fault = served.body.get("fault") or {}
        key = hashlib.sha256(served.raw).hexdigest()
        self._asked[key] += 1
        if "delay" in fault:
            await asyncio.sleep(fault["delay"])
        if fault.get("wait"):
            await self._loop.run_in_executor(None, self.release.wait, 30)
        statuses = fault.get("status", [])
        statuses = statuses if isinstance(statuses, list) else [statuses] * 1000
        if len(statuses) >= self._asked[key] and statuses[self._asked[key] - 1] != 200:
            return await self._refuse(statuses[self._asked[key] - 1], fault, writer)
        if fault.get("redirect"):
            writer.write(b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n")
            return True
        if served.path.endswith("/models"):
            return await self._list_models(writer)
        if served.path.endswith("/embeddings"):
            served.body.setdefault("fault", {})["raw"] = json.dumps(embeddings_body(served.body))
            return await self._whole(served, served.body["fault"], writer)
        if served.path == "/v1/completions":
            return await self._legacy(served, writer)
        if served.body.get("stream"):
            return await self._stream(served, fault, writer)
        return await self._whole(served, fault, writer)

    async def _list_models(self, writer: asyncio.StreamWriter) -> bool:
        body = json.dumps({"object": "list", "data": [{"id": "gpt-4o"}, {"id": "other"}]}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        return True

    async def _refuse(self, status: int, fault: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        body = json.dumps({"error": {"message": "no", "type": "fake", "param": None, "code": "fake_code"}}).encode()
        retry = f"retry-after: {fault['retry_after']}\r\n" if "retry_after" in fault else ""
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{retry}content-length: {len(body)}\r\n\r\n".encode() + body
        )
        await writer.drain()
        return True

    async def _legacy(self, served: Served, writer: asyncio.StreamWriter) -> bool:
        choice = {"index": 0, "text": f"After {served.body['prompt']}", "finish_reason": "stop", "logprobs": None}
        body = {"id": "cmpl-1", "object": "text_completion", "created": 1700000000, "model": served.body["model"],
                "choices": [choice], "usage": usage_of(served.body)}  # fmt: skip
        if not served.body.get("stream"):
            return await self._whole(served, {"raw": json.dumps(body)}, writer)
        return await self._stream(served, {"raw": f"data: {json.dumps(body)}\n\ndata: [DONE]\n\n"}, writer)

    async def _whole(self, served: Served, fault: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        body = fault["raw"].encode() if "raw" in fault else json.dumps(whole_body(served.body, len(self.ledger))).encode()
        encoding = ""
        if fault.get("gzip"):
            body, encoding = gzip.compress(body), "content-encoding: gzip\r\n"
        length = len(body) + fault.get("longer", 0)
        kind = fault.get("content_type", "application/json")
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{encoding}content-length: {length}\r\n\r\n".encode())
        return await self._send(served, body, fault, writer, chunked=False)

    async def _stream(self, served: Served, fault: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        body = fault["raw"].encode() if "raw" in fault else stream_body(served.body, len(self.ledger), fault)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        return await self._send(served, body, fault, writer, chunked=True)

    async def _send(
        self, served: Served, body: bytes, fault: dict[str, Any], writer: asyncio.StreamWriter, *, chunked: bool
    ) -> bool:
        """The body, whole or up to where the fault strikes: `cut_at`, `reset_at`, `stall_at`; in drips of `drip` bytes."""
        stop = min(fault.get(name, len(body)) for name in ("cut_at", "reset_at", "stall_at"))
        size = fault.get("drip") or max(len(body), 1)
        served.whole = stop == len(body)
        for begin in range(0, stop, size):
            part = body[begin : min(begin + size, stop)]
            served.sent += part
            writer.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
            await writer.drain()
            if "every" in fault:
                await asyncio.sleep(fault["every"])
        if "stall_at" in fault:
            await self._loop.run_in_executor(None, self.release.wait, 30)
            return False
        if "reset_at" in fault:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        if fault.get("end") == "close" or "longer" in fault:
            return False
        if chunked:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def answer_to(body: dict[str, Any]) -> str:
    """The text: a function of the request alone, with its own digest in it; or what the request asks for, as `SAY[...]SAY`."""
    wanted = re.search(r"SAY\[(.*)\]SAY", _texts(body), re.DOTALL)
    if wanted is not None:
        return wanted[1]
    seed = hashlib.sha256(json.dumps(body.get("messages"), sort_keys=True).encode()).hexdigest()
    return f"An answer from far away ({seed[:16]}): 你好, {seed}."


def embeddings_body(body: dict[str, Any]) -> dict[str, Any]:
    """A vector of two numbers for each text: its length, and its place."""
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    data = [{"object": "embedding", "index": i, "embedding": [float(len(text)), float(i)]} for i, text in enumerate(texts)]
    return {"object": "list", "model": body["model"], "data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}}


def _texts(body: dict[str, Any]) -> str:
    contents = [message.get("content") for message in body.get("messages") or [] if isinstance(message, dict)]
    parts = [part.get("text") for content in contents if isinstance(content, list) for part in content if isinstance(part, dict)]
    return "\n".join(str(text) for text in [*contents, *parts] if isinstance(text, str))


def usage_of(body: dict[str, Any]) -> dict[str, int]:
    return {"prompt_tokens": 7, "completion_tokens": 11, "total_tokens": 18}


def whole_body(body: dict[str, Any], number: int) -> dict[str, Any]:
    choices = [
        {"index": index, "message": {"role": "assistant", "content": answer_to(body), "refusal": None}, "finish_reason": "stop",
         "logprobs": None}
        for index in range(body.get("n", 1))
    ]  # fmt: skip
    return {"id": f"up-{number}", "object": "chat.completion", "created": 1700000000, "model": body["model"],
            "choices": choices, "usage": usage_of(body), "x_unknown": 1.50}  # fmt: skip


def stream_body(body: dict[str, Any], number: int, fault: dict[str, Any] | None = None) -> bytes:
    """The events, as bytes. Faults: `no_done`, `no_finish`, `malformed`, `error_event`, `twice`, `comment`."""
    fault = fault or {}
    events: list[bytes] = [b": hello\n\n"] if fault.get("comment") else []
    text = answer_to(body)
    for index in range(body.get("n", 1)):
        for begin in range(0, len(text), CHUNK):
            events.append(_event(body, number, index, {"content": text[begin : begin + CHUNK]}, None))
        if fault.get("no_finish") != index:
            events.append(_event(body, number, index, {}, "stop"))
    if (body.get("stream_options") or {}).get("include_usage"):
        events.append(_data({**_base(body, number), "choices": [], "usage": usage_of(body)}))
    if fault.get("malformed"):
        events.insert(1, b'data: {"id": "up", "choices": [\n\n')
    if fault.get("error_event"):
        events.insert(1, _data({"error": {"message": "broke", "type": "fake", "param": None, "code": None}}))
    if fault.get("twice"):
        events.insert(1, events[0])
    return b"".join(events if fault.get("no_done") else [*events, b"data: [DONE]\n\n"])


def _event(body: dict[str, Any], number: int, index: int, delta: dict[str, Any], finish: str | None) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}
    return _data({**_base(body, number), "choices": [choice]})


def _base(body: dict[str, Any], number: int) -> dict[str, Any]:
    return {"id": f"up-{number}", "object": "chat.completion.chunk", "created": 1700000000, "model": body["model"]}


def _data(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"

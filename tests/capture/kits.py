"""A capture with all that it needs: a model that plays bytes, a store that commits when it is told to, a client that reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from stillhouse.capture import Capture, Origin, Recorder
from stillhouse.chat import ChatModel, ChatRequest, ChatResponse, Chunk
from stillhouse.completion import STATES, Completion, CompletionQuery
from stillhouse.errors import (
    StillhouseError,
    StoreError,
)
from stillhouse.metering import Meter
from stillhouse.settings import Settings
from stillhouse.sse import iter_events
from stillhouse.stores.base import Store

MESSAGES = [{"role": "user", "content": "hi"}]


class BytesModel:
    """Plays recorded bytes, waits for `go` (before the last event, or after it), then raises `failure`, if any."""

    def __init__(self, raw: bytes, failure: StillhouseError | None = None, *, before_last: bool = False) -> None:
        self.raw = raw
        self.failure = failure
        self.before_last = before_last
        self.go = asyncio.Event()
        self.go.set()

    async def complete(self, request: ChatRequest) -> ChatResponse:
        await self.go.wait()
        if self.failure:
            raise self.failure
        return ChatResponse(self.raw)

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        for chunk in iter_events(self.raw):
            if self.before_last and chunk.is_done:
                await self.go.wait()
            yield chunk
        await self.go.wait()
        if self.failure:
            raise self.failure

    async def close(self) -> None:
        pass


class Kit:
    """A capture around a model, with everything it needs."""

    def __init__(self, store: Any, model: ChatModel, tmp_path: Path, **settings: Any) -> None:
        self.store = store
        self.meter = Meter(store)
        self.recorder = Recorder(store, Settings(data_dir=tmp_path, **settings), "server-1", self.meter.count)
        self.capture = Capture(model, self.recorder, Origin("teacher", "m", "no: terms"))

    def rows(self) -> list[Completion]:
        return list(self.store.completions(CompletionQuery(states=STATES)).items)


def request(**parameters: Any) -> ChatRequest:
    return ChatRequest.build("m", MESSAGES, **{"store": True, **parameters})


async def read(stream: AsyncIterator[Chunk]) -> tuple[bytes, Exception | None]:
    """Everything a client gets, and how it ends."""
    got = b""
    try:
        async for chunk in stream:
            got += chunk.raw
    except StillhouseError as exc:
        return got, exc
    return got, None


async def settled(kit: Kit) -> None:
    """Until every write submitted so far is done: writes keep their order."""
    await kit.recorder.drain(10)
    await asyncio.wrap_future(kit.store.tag_completions([], add=["x"]))


class HeldStore:
    """A store whose ends (or beginnings) are committed when the test says so."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.ends: list[Callable[[], None]] = []
        self.partials: list[bytes] = []
        self.failing: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def begin_completion(self, completion: Completion, raw: bytes) -> Future[None]:
        return self._failed() if "begin" in self.failing else self._store.begin_completion(completion, raw)

    def save_partial(self, completion_id: str, response: bytes) -> Future[None]:
        self.partials.append(response)
        return self._store.save_partial(completion_id, response)

    def finish_completion(self, completion: Completion, response: bytes) -> Future[None]:
        if "finish" in self.failing:
            return self._failed()
        future: Future[None] = Future()

        def commit() -> None:
            self._store.finish_completion(completion, response).result()
            future.set_result(None)

        self.ends.append(commit)
        self.asked.set()
        return future

    def _failed(self) -> Future[None]:
        future: Future[None] = Future()
        future.set_exception(StoreError("disk full"))
        return future

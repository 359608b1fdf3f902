"""What the captures of one server share, and the record of one exchange on its way into the store.

Decides when an exchange may begin (limits) and when it is kept; what is worth keeping of an answer is decided by its callers.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from stillhouse.chat import ChatRequest, Usage
from stillhouse.completion import Completion, State
from stillhouse.errors import CaptureLostError, StoreError
from stillhouse.ids import new_id
from stillhouse.settings import Settings
from stillhouse.stores.base import CompletionStore

log = logging.getLogger(__name__)

CAPTURE_HEADER = "x-stillhouse-capture"
"""`stored`, or `dropped` where `capture=best_effort` let an exchange pass that could not be kept."""


class Count(Protocol):
    """Counts one request; see `metering.Meter.count`."""

    def __call__(self, upstream: str, model: str, *, stored: bool, failed: bool, usage: Usage) -> None: ...


@dataclass(frozen=True)
class Origin:
    """Who answers: copied into every completion."""

    upstream: str
    model: str
    may_train: str = "yes"


class Recorder:
    """What the captures of one server share: the store, the limits, and the recordings still under way."""

    def __init__(self, store: CompletionStore, settings: Settings, instance: str, count: Count) -> None:
        self.store = store
        self.instance = instance
        self.count = count
        self._settings = settings
        self._held = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def required(self) -> bool:
        """Whether what cannot be kept is not forwarded."""
        return self._settings.capture != "best_effort"

    def admit(self) -> None:
        """Raises StoreError when another exchange could not be kept: too much in memory, or the disk nearly full."""
        if self._held > self._settings.max_in_flight_bytes:
            raise StoreError(f"Capture holds {self._held} bytes that are not written yet, its limit. Try again shortly.")
        disk = os.statvfs(self._settings.data_dir)
        if disk.f_bavail * disk.f_frsize < self._settings.min_free_bytes:
            raise StoreError(f"Less than {self._settings.min_free_bytes} bytes are free where completions are kept.")

    def hold(self, size: int) -> None:
        """Count bytes (negative: let go) of exchanges that are not written yet."""
        self._held += size

    def record(self, request: ChatRequest, origin: Origin) -> Record:
        """A new exchange, not yet kept."""
        row = Completion(
            id=new_id("chatcmpl"),
            created=int(time.time()),
            state="started",
            instance=self.instance,
            requested_model=request.model,
            model=origin.model,
            upstream=origin.upstream,
            stream=request.stream,
            may_train=origin.may_train,
            metadata=request.metadata,
        )
        return Record(self, request, row)

    def start(self, recording: Coroutine[Any, Any, None]) -> None:
        """Run it to its end, whoever is listening."""
        task = asyncio.get_running_loop().create_task(recording)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, seconds: float) -> None:
        """Let the recordings end; past `seconds` they are cut off and kept as `interrupted`."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


@dataclass
class Record:
    """One exchange on its way into the store."""

    recorder: Recorder
    request: ChatRequest
    row: Completion
    kept: bool = False
    began: float = field(default_factory=time.perf_counter)
    first_byte: float | None = None

    async def begin(self) -> None:
        """The intent, on disk before the upstream is called. Raises StoreError unless capture is best effort."""
        try:
            self.recorder.admit()
            begun = self.recorder.store.begin_completion(self.row, self.request.raw)
            self.kept = True  # from here on a cancelled exchange has a row, and owes it an end
            await _done(begun)
        except StoreError as exc:
            self.kept = False
            if self.recorder.required:
                raise
            log.error("not captured: %s", exc)

    async def finish(self, state: State, response: bytes, **facts: Any) -> None:
        """How it ended, on disk. Raises CaptureLostError unless capture is best effort."""
        if not self.kept:
            return
        try:
            await _done(self.submit(state, response, **facts))
        except StoreError as exc:
            self.kept = False
            log.error("the answer of %s could not be kept: %s", self.row.id, exc)
            if self.recorder.required:
                raise CaptureLostError(f"The upstream answered, but the answer could not be kept: {exc}") from exc

    def submit(self, state: State, response: bytes, **facts: Any) -> Future[None]:
        """The same without waiting."""
        now = time.perf_counter()
        first = None if self.first_byte is None else (self.first_byte - self.began) * 1000
        changes = {"state": state, "total_ms": (now - self.began) * 1000, "first_byte_ms": first, **facts}
        if response:
            changes["response_sha256"] = hashlib.sha256(response).hexdigest()
        self.row = self.row.model_copy(update=changes)
        return self.recorder.store.finish_completion(self.row, response)

    @property
    def headers(self) -> dict[str, str]:
        return {CAPTURE_HEADER: "stored" if self.kept else "dropped"}


async def _done(write: Future[None]) -> None:
    """Wait for a write. Shielded: to cancel whoever waits must not take the write itself out of the queue."""
    await asyncio.shield(asyncio.wrap_future(write))

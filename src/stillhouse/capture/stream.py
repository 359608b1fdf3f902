"""One stream being recorded, while a client reads along.

The recording is a task of its own that follows the upstream to its end; the client reads a tape that the task fills, up to the
point where the next event would make it believe that it has everything. That end is released when the answer is on disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from stillhouse.capture.recorder import Record
from stillhouse.chat import ChatModel, Chunk
from stillhouse.completion import State
from stillhouse.ending import Ending
from stillhouse.errors import StillhouseError, StreamBrokenError, UpstreamError

log = logging.getLogger(__name__)

PARTIAL_SECONDS = 1.0
PARTIAL_BYTES = 16 * 1024
"""What has come of a stream is saved when either has passed, without waiting: a diagnostic for after a crash, never a label."""


class RecordedStream:
    """One stream being recorded, and read by at most one client, who may leave."""

    def __init__(self, record: Record, model: ChatModel, count: Callable[..., None]) -> None:
        self._record = record
        self._model = model
        self._count = count
        self._ending = Ending(record.request.n)
        self._tape: list[Chunk] = []  # every event as kept; the client has read up to _read and may read up to _released
        self._read = self._released = self._size = self._saved = 0
        self._wake = asyncio.Event()
        self._over = self._settled = self._left = False
        self._problem: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Whether it is kept; known once the first event is there."""
        return self._record.headers

    def __aiter__(self) -> RecordedStream:
        return self

    async def __anext__(self) -> Chunk:
        while self._read >= self._released:
            if self._over:
                if self._problem is not None:
                    raise self._problem
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        self._read += 1
        return self._tape[self._read - 1]

    def leave(self) -> None:
        """The client is gone; the recording goes on."""
        self._left = self._left or not self._over

    async def run(self) -> None:
        """Record the stream to its end, however it ends."""
        self._record.recorder.hold(len(self._record.request.raw))
        try:
            await self._record.begin()
            await self._follow()
        except Exception as exc:
            if not isinstance(exc, StillhouseError):
                log.exception("recording %s failed", self._record.row.id)
                self._abandon("failed", exc)
            self._end(exc)
        except asyncio.CancelledError as exc:
            self._abandon("interrupted", exc)
            self._end(StreamBrokenError("The server is shutting down."))
            raise
        finally:
            self._stop_timer()
            self._record.recorder.hold(-self._size - len(self._record.request.raw))

    async def _follow(self) -> None:
        failure: StillhouseError | None = None
        try:
            async for chunk in self._model.stream(self._record.request):
                if not self._ending.done:  # what follows the end marker is nobody's; it is read so that the connection lives on
                    self._take(chunk)
                    if self._ending.done:
                        await self._settle(None)
        except StillhouseError as exc:
            if self._settled:
                raise
            failure = exc
        if not self._settled:
            await self._settle(failure)

    def _take(self, chunk: Chunk) -> None:
        self._record.first_byte = self._record.first_byte or time.perf_counter()
        self._ending.see(chunk)
        kept = chunk.with_id(self._record.row.id) if chunk.body and "choices" in chunk.body else chunk
        self._tape.append(kept)
        self._size += len(kept.raw)
        self._record.recorder.hold(len(kept.raw))
        if chunk.whole and not self._ending.all_finished and not self._ending.done:
            self._released = len(self._tape)
            self._wake.set()
        self._save_soon()

    async def _settle(self, failure: StillhouseError | None) -> None:
        """Keep how it ended; only then let the client have the end."""
        self._settled = True
        self._stop_timer()
        state, problem = self._verdict(failure)
        ending, usage = self._ending, self._ending.usage
        self._count(stored=self._record.kept, failed=state != "complete", usage=usage)
        status = 200 if failure is None else failure.status if isinstance(failure, UpstreamError) else failure.http_status
        await self._record.finish(
            state,
            self._bytes() or (failure.body if isinstance(failure, UpstreamError) else b""),
            status=status or (200 if self._tape else None),
            error=problem,
            client_gone=self._left,
            upstream_id=ending.upstream_id,
            finish_reason=ending.finish_reason,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
        )
        if state == "complete":
            self._released = len(self._tape)
            self._end(None)
        else:
            self._end(failure or StreamBrokenError(f"Upstream '{self._record.row.upstream}': {problem}."))

    def _verdict(self, failure: StillhouseError | None) -> tuple[State, str | None]:
        if failure is None:
            return self._ending.verdict()
        broke_off = isinstance(failure, StreamBrokenError) and bool(self._tape)
        return ("truncated" if broke_off else "failed"), str(failure)

    def _abandon(self, state: State, exc: BaseException) -> None:
        if self._record.kept and not self._settled:
            self._settled = True
            self._count(stored=True, failed=True, usage=self._ending.usage)
            self._record.submit(state, self._bytes(), error=f"{type(exc).__name__}: {exc}", client_gone=self._left)

    def _end(self, problem: Exception | None) -> None:
        if not self._over:
            self._over, self._problem = True, problem
            self._wake.set()

    def _bytes(self) -> bytes:
        return b"".join(chunk.raw for chunk in self._tape)

    def _save_soon(self) -> None:
        if self._size - self._saved >= PARTIAL_BYTES:
            self._save()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PARTIAL_SECONDS, self._save)

    def _save(self) -> None:
        self._stop_timer()
        if self._record.kept and not self._settled:
            self._saved = self._size
            self._record.recorder.store.save_partial(self._record.row.id, self._bytes())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

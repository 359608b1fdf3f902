"""The ChatModel that records: whole bodies here, streams in `stream`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from stillhouse.capture.recorder import Origin, Record, Recorder
from stillhouse.capture.stream import RecordedStream
from stillhouse.chat import ChatModel, ChatRequest, ChatResponse, Chunk, Usage
from stillhouse.completion import State
from stillhouse.ending import judge
from stillhouse.errors import CaptureLostError, StillhouseError, StreamBrokenError, UpstreamError

log = logging.getLogger(__name__)


class Capture:
    """Records what passes through `model`, where the request asks for it (`store: true`); counts it in any case."""

    def __init__(self, model: ChatModel, recorder: Recorder, origin: Origin) -> None:
        self._model = model
        self._recorder = recorder
        self._origin = origin

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """The answer under our id, once it is on disk. Raises StoreError before the upstream is asked, CaptureLostError after."""
        if not request.store:
            return await self._pass_on(request)
        record = self._recorder.record(request, self._origin)
        self._recorder.hold(len(request.raw))
        try:
            return await self._keep(record, await self._ask(record))
        finally:
            self._recorder.hold(-len(request.raw))

    def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """The events under our id as they come; the end once it is on disk. A broken stream raises after its last event."""
        return self._pass_events(request) if not request.store else self.record_stream(request)

    def record_stream(self, request: ChatRequest) -> RecordedStream:
        """`stream` of a request to be kept: recorded by a task of its own, which outlives whoever reads."""
        stream = RecordedStream(self._recorder.record(request, self._origin), self._model, self._count)
        self._recorder.start(stream.run())
        return stream

    async def close(self) -> None:
        await self._model.close()

    async def _ask(self, record: Record) -> ChatResponse:
        try:
            await record.begin()
            return await self._model.complete(record.request)
        except StillhouseError as exc:
            await self._refused(record, exc)
            raise
        except BaseException as exc:  # cancelled, or a fault of the model's: the row must not stay `started`
            self._broken(record, exc)
            raise

    async def _keep(self, record: Record, response: ChatResponse) -> ChatResponse:
        state, problem = judge(response, record.request.n)
        answer = response.with_id(record.row.id) if state == "complete" else response
        usage = response.usage
        self._count(stored=record.kept, failed=state != "complete", usage=usage)
        await record.finish(
            state,
            answer.raw,
            status=200,
            error=problem,
            upstream_id=response.id,
            finish_reason=str(response.choices[0].get("finish_reason")) if state == "complete" else None,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
        )
        if problem:
            raise StreamBrokenError(f"Upstream '{self._origin.upstream}' did not answer as the API says: {problem}.")
        answer.headers = {**response.headers, **record.headers}
        return answer

    async def _refused(self, record: Record, exc: StillhouseError) -> None:
        self._count(stored=record.kept, failed=True, usage=Usage())
        status, body = (exc.status, exc.body) if isinstance(exc, UpstreamError) else (exc.http_status, b"")
        state: State = "truncated" if isinstance(exc, StreamBrokenError) else "failed"
        try:
            await record.finish(state, body, status=status, error=str(exc))
        except CaptureLostError:
            log.error("%s failed, and that could not be kept either", record.row.id)

    def _broken(self, record: Record, exc: BaseException) -> None:
        self._count(stored=record.kept, failed=True, usage=Usage())
        if record.kept:
            state: State = "interrupted" if isinstance(exc, asyncio.CancelledError) else "failed"
            record.submit(state, b"", error=f"{type(exc).__name__}: {exc}")

    async def _pass_on(self, request: ChatRequest) -> ChatResponse:
        try:
            response = await self._model.complete(request)
        except BaseException:
            self._count(stored=False, failed=True, usage=Usage())
            raise
        self._count(stored=False, failed=False, usage=response.usage)
        return response

    async def _pass_events(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """Nothing is kept, so nothing waits; a stream without its end marker still ends in an error, never silently."""
        usage, done = Usage(), False
        try:
            async for chunk in self._model.stream(request):
                if b'"usage"' in chunk.raw and chunk.body and chunk.body.get("usage"):
                    usage = Usage.of(chunk.body)
                done = done or chunk.is_done
                if chunk.whole:
                    yield chunk
        finally:
            self._count(stored=False, failed=not done, usage=usage)
        if not done:
            raise StreamBrokenError(f"Upstream '{self._origin.upstream}' ended its stream without the end marker.")

    def _count(self, *, stored: bool, failed: bool, usage: Usage) -> None:
        self._recorder.count(self._origin.upstream, self._origin.model, stored=stored, failed=failed, usage=usage)

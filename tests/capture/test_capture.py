"""What is kept of an exchange, when, and what a client may see before."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from stillhouse.capture import CAPTURE_HEADER, Capture, Origin, Recorder
from stillhouse.capture.stream import PARTIAL_BYTES
from stillhouse.chat import ChatModel, ChatRequest, ChatResponse, Chunk
from stillhouse.completion import Completion, CompletionQuery, State
from stillhouse.errors import (
    CaptureLostError,
    StillhouseError,
    StoreError,
    StreamBrokenError,
    UpstreamError,
    UpstreamTimeoutError,
)
from stillhouse.metering import Meter
from stillhouse.models.fake import FakeModel
from stillhouse.settings import Settings
from stillhouse.sse import iter_events
from stillhouse.stores.base import Store
from stillhouse.stores.opening import open_store
from tests.fakes.upstream import stream_body

EVERY: tuple[State, ...] = ("started", "complete", "truncated", "malformed", "interrupted", "failed")
MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(Settings(data_dir=tmp_path), role="server")
    yield store
    store.close()


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
        return list(self.store.completions(CompletionQuery(states=EVERY)).items)


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


async def test_a_whole_body_is_kept_under_our_id_and_otherwise_untouched(store: Store, tmp_path: Path) -> None:
    raw = (
        b'{ "id" : "up-1", "n":1.50,"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}'
    )
    kit = Kit(store, BytesModel(raw), tmp_path)
    asked = request(metadata={"a": "b"}, temperature=0.10)
    answer = await kit.capture.complete(asked)
    (row,) = kit.rows()
    payload = store.payload(row.id)
    assert payload is not None and payload.request == asked.raw
    assert answer.raw == payload.response == raw.replace(b'"up-1"', f'"{row.id}"'.encode())
    assert row.response_sha256 == hashlib.sha256(answer.raw).hexdigest()
    assert (row.state, row.upstream_id, row.finish_reason, row.metadata) == ("complete", "up-1", "stop", {"a": "b"})
    assert (row.upstream, row.may_train, row.status) == ("teacher", "no: terms", 200)
    assert answer.headers[CAPTURE_HEADER] == "stored"


async def test_a_stream_is_kept_under_our_id_and_otherwise_untouched(store: Store, tmp_path: Path) -> None:
    raw = stream_body({"model": "m", "messages": MESSAGES, "stream_options": {"include_usage": True}}, 1, {"comment": True})
    kit = Kit(store, BytesModel(raw), tmp_path)
    got, problem = await read(kit.capture.stream(request(stream=True)))
    (row,) = kit.rows()
    payload = store.payload(row.id)
    assert problem is None and payload is not None
    assert got == payload.response == raw.replace(b'"up-1"', f'"{row.id}"'.encode())
    assert row.response_sha256 == hashlib.sha256(got).hexdigest()
    assert (row.state, row.stream, row.prompt_tokens, row.completion_tokens) == ("complete", True, 7, 11)
    assert row.first_byte_ms is not None and row.total_ms is not None and row.first_byte_ms <= row.total_ms


@pytest.mark.parametrize("stream", [False, True])
async def test_the_request_is_on_disk_before_the_upstream_is_asked(store: Store, tmp_path: Path, stream: bool) -> None:
    seen: list[Completion] = []

    def answer(_: ChatRequest) -> str:
        seen.extend(kit.rows())
        return "x"

    kit = Kit(store, FakeModel(answer), tmp_path)
    if stream:
        await read(kit.capture.stream(request(stream=True)))
    else:
        await kit.capture.complete(request())
    assert [row.state for row in seen] == ["started"]
    assert [row.state for row in kit.rows()] == ["complete"]


async def test_streams_cut_at_every_byte_are_never_complete_and_never_look_it(store: Store, tmp_path: Path) -> None:
    raw = Chunk.build({"id": "up", "choices": [{"index": 0, "delta": {"content": "你好"}}]}).raw
    raw += Chunk.build({"id": "up", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).raw
    raw += Chunk.build({"id": "up", "choices": [], "usage": {"prompt_tokens": 1}}).raw + Chunk.done().raw

    async def cut_at(cut: int) -> None:
        got, problem = await read(Kit(store, BytesModel(raw[:cut]), tmp_path).capture.stream(request(stream=True)))
        assert isinstance(problem, StreamBrokenError), cut
        assert b"[DONE]" not in got and b'"stop"' not in got, cut

    await asyncio.gather(*(cut_at(cut) for cut in range(len(raw))))
    assert len(store.completions(CompletionQuery(states=EVERY, limit=1000)).items) == len(raw)
    assert store.completions(CompletionQuery(states=("complete",))).items == []


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ({"no_done": True}, "truncated"),
        ({"no_finish": 0}, "truncated"),
        ({"malformed": True}, "malformed"),
        ({"error_event": True}, "failed"),
    ],
)
async def test_a_stream_that_does_not_end_well_is_kept_as_it_came(
    store: Store, tmp_path: Path, fault: dict[str, Any], state: str
) -> None:
    raw = stream_body({"model": "m", "messages": MESSAGES}, 1, fault)
    kit = Kit(store, BytesModel(raw), tmp_path)
    got, problem = await read(kit.capture.stream(request(stream=True)))
    (row,) = kit.rows()
    payload = store.payload(row.id)
    assert problem is not None and b"[DONE]" not in got
    assert row.state == state and row.error and payload is not None
    assert payload.response == raw.replace(b'"up-1"', f'"{row.id}"'.encode())


@pytest.mark.parametrize(
    ("failure", "state", "status"),
    [
        (UpstreamError("no", status=429, body=b'{"error":1}'), "failed", 429),
        (UpstreamTimeoutError("late"), "failed", None),
        (StreamBrokenError("reset"), "truncated", None),
    ],
)
async def test_a_refusal_is_kept_and_passed_on(
    store: Store, tmp_path: Path, failure: UpstreamError, state: str, status: int | None
) -> None:
    kit = Kit(store, BytesModel(b"", failure), tmp_path)
    with pytest.raises(type(failure)):
        await kit.capture.complete(request())
    _, problem = await read(kit.capture.stream(request(stream=True)))
    assert problem is failure
    plain, streamed = kit.rows()
    assert plain.state == state and streamed.state == "failed"
    assert plain.status == streamed.status == status
    for row in (plain, streamed):
        payload = store.payload(row.id)
        assert payload is not None and (payload.response or b"") == failure.body


@pytest.mark.parametrize("raw", [b"<html>", b'{"choices":[]}', b'{"choices":[{"index":0,"message":{},"finish_reason":null}]}'])
async def test_a_body_that_is_no_answer_is_kept_and_refused(store: Store, tmp_path: Path, raw: bytes) -> None:
    kit = Kit(store, BytesModel(raw), tmp_path)
    with pytest.raises(UpstreamError):
        await kit.capture.complete(request())
    (row,) = kit.rows()
    payload = store.payload(row.id)
    assert row.state in ("malformed", "truncated") and payload is not None and payload.response == raw


async def test_a_fault_of_the_models_own_leaves_no_row_started(store: Store, tmp_path: Path) -> None:
    def answer(_: ChatRequest) -> str:
        raise RuntimeError("bug")

    kit = Kit(store, FakeModel(answer), tmp_path)
    with pytest.raises(RuntimeError):
        await kit.capture.complete(request())
    with pytest.raises(RuntimeError):
        await anext(kit.capture.stream(request(stream=True)))
    await settled(kit)
    assert [row.state for row in kit.rows()] == ["failed", "failed"]


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


async def test_text_is_not_delayed_and_the_end_waits_for_the_commit(store: Store, tmp_path: Path) -> None:
    held = HeldStore(store)
    raw = stream_body({"model": "m", "messages": MESSAGES}, 1)
    kit = Kit(held, BytesModel(raw), tmp_path)
    got: list[Chunk] = []

    async def client() -> None:
        async for chunk in kit.capture.stream(request(stream=True)):
            got.append(chunk)

    reading = asyncio.create_task(client())
    await held.asked.wait()
    for _ in range(50):
        await asyncio.sleep(0)
    events = list(iter_events(raw))
    assert len(got) == len(events) - 2  # all of the text; neither the finish reason nor the end marker
    assert not any(chunk.is_done or chunk.finish_reasons for chunk in got)
    held.ends[0]()
    await reading
    assert len(got) == len(events) and got[-1].is_done


async def test_a_whole_body_waits_for_the_commit(store: Store, tmp_path: Path) -> None:
    held = HeldStore(store)
    kit = Kit(held, FakeModel(lambda _: "x"), tmp_path)
    asking = asyncio.create_task(kit.capture.complete(request()))
    await held.asked.wait()
    for _ in range(50):
        await asyncio.sleep(0)
    assert not asking.done()
    held.ends[0]()
    assert (await asking).text == "x"


@pytest.mark.parametrize("stream", [False, True])
async def test_to_cancel_whoever_waits_for_the_commit_does_not_cancel_the_commit(
    store: Store, tmp_path: Path, stream: bool
) -> None:
    held = HeldStore(store)
    kit = Kit(held, FakeModel(lambda _: "x"), tmp_path)
    asking = asyncio.create_task(complete_or_read(kit, stream))
    await held.asked.wait()
    asking.cancel()
    await kit.recorder.drain(0)
    await asyncio.gather(asking, return_exceptions=True)
    held.ends[0]()  # fails if the write was cancelled
    assert [row.state for row in kit.rows()] == ["complete"]


async def complete_or_read(kit: Kit, stream: bool) -> None:
    if stream:
        await read(kit.capture.stream(request(stream=True)))
    else:
        await kit.capture.complete(request())


@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_kept_is_not_forwarded(store: Store, tmp_path: Path, stream: bool) -> None:
    held, model = HeldStore(store), FakeModel(lambda _: "x")
    held.failing = {"begin"}
    kit = Kit(held, model, tmp_path)
    with pytest.raises(StoreError, match="disk full"):
        await (anext(kit.capture.stream(request(stream=True))) if stream else kit.capture.complete(request()))
    assert model.requests == [] and kit.rows() == []


@pytest.mark.parametrize("failing", ["begin", "finish"])
async def test_best_effort_says_that_it_dropped(store: Store, tmp_path: Path, failing: str) -> None:
    held = HeldStore(store)
    held.failing = {failing}
    kit = Kit(held, FakeModel(lambda _: "x"), tmp_path, capture="best_effort")
    answer = await kit.capture.complete(request())
    assert answer.text == "x" and answer.headers[CAPTURE_HEADER] == "dropped"
    stream = kit.capture.record_stream(request(stream=True))
    got, problem = await read(stream)
    assert problem is None and got.endswith(b"data: [DONE]\n\n") and stream.headers[CAPTURE_HEADER] == "dropped"


async def test_an_answer_that_cannot_be_kept_is_not_told(store: Store, tmp_path: Path) -> None:
    held = HeldStore(store)
    held.failing = {"finish"}
    kit = Kit(held, FakeModel(lambda _: "x"), tmp_path)
    with pytest.raises(CaptureLostError):
        await kit.capture.complete(request())
    got, problem = await read(kit.capture.stream(request(stream=True)))
    assert isinstance(problem, CaptureLostError) and b"[DONE]" not in got and b'"stop"' not in got


@pytest.mark.parametrize("after", [0, 1, 5])
async def test_a_client_that_leaves_does_not_stop_the_recording(store: Store, tmp_path: Path, after: int) -> None:
    raw = stream_body({"model": "m", "messages": MESSAGES}, 1)
    model = BytesModel(raw, before_last=True)
    model.go.clear()
    kit = Kit(store, model, tmp_path)
    stream = kit.capture.record_stream(request(stream=True))
    for _ in range(after):
        await anext(stream)
    stream.leave()
    model.go.set()
    await kit.recorder.drain(10)
    (row,) = kit.rows()
    payload = store.payload(row.id)
    assert (row.state, row.client_gone) == ("complete", True)
    assert payload is not None and payload.response == raw.replace(b'"up-1"', f'"{row.id}"'.encode())


async def test_long_streams_are_saved_on_the_way(store: Store, tmp_path: Path) -> None:
    held = HeldStore(store)
    model = BytesModel(b'data: {"choices":[]}\n\n' * (3 * PARTIAL_BYTES // 22 + 3))
    model.go.clear()
    kit = Kit(held, model, tmp_path)
    stream = kit.capture.record_stream(request(stream=True))
    await anext(stream)
    while len(held.partials) < 3:
        await asyncio.sleep(0)
    await asyncio.wrap_future(store.tag_completions([], add=["x"]))
    (row,) = kit.rows()
    payload = store.payload(row.id)
    assert row.state == "started" and payload is not None and payload.response == held.partials[-1]
    held.failing = {"finish"}
    model.go.set()
    await kit.recorder.drain(10)


@pytest.mark.parametrize("parameters", [{"store": False}, {"store": None}, {"store": False, "stream": True}])
async def test_without_store_nothing_is_kept_but_counts(store: Store, tmp_path: Path, parameters: dict[str, Any]) -> None:
    kit = Kit(store, FakeModel(lambda _: "one two three"), tmp_path)
    asked = request(**parameters)
    if asked.stream:
        assert (await read(kit.capture.stream(asked)))[0].endswith(b"[DONE]\n\n")
    else:
        assert (await kit.capture.complete(asked)).text == "one two three"
    await kit.meter.flush()
    assert kit.rows() == []
    (usage,) = store.usage()
    assert (usage.requests, usage.failed, usage.completion_tokens, usage.stored) == (1, 0, 3, False)


async def test_without_store_a_broken_stream_still_ends_in_an_error(store: Store, tmp_path: Path) -> None:
    raw = stream_body({"model": "m", "messages": MESSAGES}, 1, {"no_done": True})
    kit = Kit(store, BytesModel(raw), tmp_path)
    got, problem = await read(kit.capture.stream(request(store=False, stream=True)))
    await kit.meter.flush()
    assert got == raw and isinstance(problem, StreamBrokenError)
    assert store.usage()[0].failed == 1


async def test_too_much_in_flight_is_refused_before_the_upstream_is_asked(store: Store, tmp_path: Path) -> None:
    raw = stream_body({"model": "m", "messages": MESSAGES}, 1)
    model = BytesModel(raw)
    model.go.clear()
    kit = Kit(store, model, tmp_path, max_in_flight_bytes=len(raw) // 2)
    first = kit.capture.record_stream(request(stream=True))
    await anext(first)
    with pytest.raises(StoreError, match="not written yet"):
        await anext(kit.capture.stream(request(stream=True)))
    model.go.set()
    await kit.recorder.drain(10)
    assert [row.state for row in kit.rows()] == ["complete"]
    assert (await read(kit.capture.stream(request(stream=True))))[1] is None


async def test_a_nearly_full_disk_is_refused(store: Store, tmp_path: Path) -> None:
    kit = Kit(store, FakeModel(lambda _: "x"), tmp_path, min_free_bytes=2**60)
    with pytest.raises(StoreError, match="free"):
        await kit.capture.complete(request())


async def test_what_shutdown_cuts_off_is_kept_as_interrupted(store: Store, tmp_path: Path) -> None:
    model = BytesModel(stream_body({"model": "m", "messages": MESSAGES}, 1, {"no_done": True}))
    model.go.clear()
    kit = Kit(store, model, tmp_path)
    stream = kit.capture.record_stream(request(stream=True))
    await anext(stream)
    asking = asyncio.create_task(kit.capture.complete(request()))
    while len(kit.rows()) < 2:
        await asyncio.sleep(0)
    asking.cancel()
    await kit.recorder.drain(0)
    with pytest.raises(asyncio.CancelledError):
        await asking
    await settled(kit)
    assert [row.state for row in kit.rows()] == ["interrupted", "interrupted"]
    assert isinstance((await read(stream))[1], StreamBrokenError)

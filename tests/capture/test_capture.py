"""What is kept of an exchange: all of it as it came, however it ends."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from stillhouse.capture import CAPTURE_HEADER
from stillhouse.capture.stream import PARTIAL_BYTES
from stillhouse.chat import ChatRequest, Chunk
from stillhouse.completion import STATES, Completion, CompletionQuery
from stillhouse.errors import (
    StreamBrokenError,
    UpstreamError,
    UpstreamTimeoutError,
)
from stillhouse.models.fake import FakeModel
from stillhouse.stores.base import Store
from tests.capture.kits import MESSAGES, BytesModel, HeldStore, Kit, read, request, settled
from tests.fakes.upstream import stream_body


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
    assert len(store.completions(CompletionQuery(states=STATES, limit=1000)).items) == len(raw)
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

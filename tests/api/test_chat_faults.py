"""Faults behind the route that all traffic takes: what a client is told, what is kept; none of them looks like an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from stillhouse.app import App
from stillhouse.chat import ChatRequest, ChatResponse, Chunk
from stillhouse.completion import CompletionQuery
from stillhouse.routing import Target
from stillhouse.stores.sql import SqlStore
from tests.api.chats import ASKED, ask, states
from tests.fakes.upstream import FakeUpstream, stream_body


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_passed_on(app: App, store: SqlStore, stream: bool) -> None:
    for status in (400, 401, 404, 429, 500, 503):
        answer = await ask(app, stream=stream, fault={"status": status, "retry_after": 7})
        assert (answer.status, answer.headers["retry-after"]) == (status, "7")
        assert answer.json["error"]["code"] == "fake_code"
    assert states(store) == ["failed"] * 6


@pytest.mark.parametrize(
    ("fault", "status", "code", "state"),
    [
        ({"delay": 5}, 504, "upstream_timeout", "failed"),
        ({"stall_at": 40}, 504, "upstream_timeout", "failed"),
        ({"reset_at": 40}, 502, "upstream_stream_broken", "truncated"),
        ({"longer": 10}, 502, "upstream_stream_broken", "truncated"),
        ({"raw": "<html>"}, 502, "upstream_stream_broken", "malformed"),
        ({"raw": ""}, 502, "upstream_stream_broken", "malformed"),
        ({"redirect": True}, 502, "upstream_error", "failed"),
    ],
)
async def test_faults_of_a_whole_body(
    app: App, store: SqlStore, fault: dict[str, Any], status: int, code: str, state: str
) -> None:
    answer = await ask(app, fault=fault)
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert states(store) == [state]


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ({"stall_at": 400}, "failed"),
        ({"reset_at": 400}, "truncated"),
        ({"cut_at": 400}, "truncated"),
        ({"cut_at": 400, "end": "close"}, "truncated"),
        ({"no_done": True}, "truncated"),
        ({"no_finish": 0}, "truncated"),
        ({"malformed": True}, "malformed"),
        ({"error_event": True}, "failed"),
    ],
)
async def test_faults_of_a_stream(app: App, store: SqlStore, fault: dict[str, Any], state: str) -> None:
    answer = await ask(app, stream=True, fault=fault)
    last = answer.body.rstrip(b"\n").rpartition(b"\n\n")[2]
    assert answer.status == 200 and b"[DONE]" not in answer.body
    assert set(orjson.loads(last.removeprefix(b"data: "))["error"]) == {"message", "type", "param", "code"}
    assert states(store) == [state]


async def test_streams_cut_at_byte_offsets_through_sockets(app: App, store: SqlStore) -> None:
    whole = len(stream_body({**ASKED, "stream": True}, 1))
    offsets = range(1, whole, 41)
    answers = await asyncio.gather(*(ask(app, stream=True, fault={"cut_at": offset}) for offset in offsets))
    assert not any(b"[DONE]" in answer.body for answer in answers)
    assert states(store) == ["truncated"] * len(offsets)


async def test_events_that_were_sent_twice_are_kept_twice(app: App, upstream: FakeUpstream, store: SqlStore) -> None:
    answer = await ask(app, stream=True, fault={"twice": True})
    (row,) = store.completions(CompletionQuery()).items
    assert answer.body.replace(row.id.encode(), b"up-1") == upstream.ledger[-1].sent


class Broken:
    """A model with a fault of its own, after its first event."""

    async def complete(self, request: ChatRequest) -> ChatResponse:
        raise RuntimeError("canary-inside")

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        yield Chunk.build({"id": "x", "choices": []})
        raise RuntimeError("canary-inside")

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("stored", [False, True])
async def test_a_model_that_fails_in_the_middle(
    app: App, store: SqlStore, stored: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app.gateway.router.swap({"gpt-4o": Target(Broken(), "gpt-4o", "broken")})
    plain, streamed = await ask(app, store=stored), await ask(app, store=stored, stream=True)
    assert (plain.status, streamed.status) == (500, 200)
    assert b'"internal_error"' in streamed.body and b"[DONE]" not in streamed.body
    assert b"canary" not in plain.body + streamed.body and "canary-inside" in caplog.text
    await app.recorder.drain(10)
    await asyncio.wrap_future(store.tag_completions([], add=["x"]))
    assert states(store) == ["failed", "failed"] * stored


async def test_a_fault_of_ours_says_nothing_of_itself(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("canary-inside")

    monkeypatch.setattr(app.gateway.router, "resolve", broken)
    answer = await ask(app)
    assert (answer.status, answer.json["error"]["code"]) == (500, "internal_error")
    assert b"canary" not in answer.body and "canary-inside" in caplog.text

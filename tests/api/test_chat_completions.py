"""The one route that all traffic takes: what is passed on, what is refused, and how."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from stillhouse.api import asgi
from stillhouse.app import App
from stillhouse.chat import ChatRequest, ChatResponse, Chunk
from stillhouse.completion import CompletionQuery, State
from stillhouse.routing import Target
from stillhouse.settings import Settings
from stillhouse.stores.sql import SqlStore
from tests.fakes.asgi import Answer, call, running
from tests.fakes.upstream import FakeUpstream, stream_body

CHAT = "/v1/chat/completions"
EVERY: tuple[State, ...] = ("started", "complete", "truncated", "malformed", "interrupted", "failed")
ASKED: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "store": True}


async def ask(app: App, **more: Any) -> Answer:
    return await call(app, "POST", CHAT, {**ASKED, **more})


def states(store: SqlStore) -> list[str]:
    return [row.state for row in store.completions(CompletionQuery(states=EVERY, limit=1000)).items]


async def test_unknown_fields_and_bytes_go_out_untouched(app: App, upstream: FakeUpstream) -> None:
    raw = b'{ "model":"gpt-4o", "messages" : [], "x": 1.50, "\\u0061":"\xe4\xbd\xa0", "tools":[{"type":"function"}] }'
    assert (await call(app, "POST", CHAT, raw)).status == 200
    assert upstream.ledger[-1].raw == raw


async def test_unstored_answers_come_back_untouched(app: App, upstream: FakeUpstream) -> None:
    answer = await ask(app, store=False)
    assert answer.body == upstream.ledger[-1].sent
    streamed = await ask(app, store=False, stream=True)
    assert streamed.body == upstream.ledger[-1].sent == stream_body({**ASKED, "stream": True}, 2)


@pytest.mark.parametrize("stream", [False, True])
async def test_stored_answers_differ_in_their_id_alone(app: App, upstream: FakeUpstream, store: SqlStore, stream: bool) -> None:
    answer = await ask(app, stream=stream, n=2, logprobs=True)
    (row,) = store.completions(CompletionQuery()).items
    assert answer.body.replace(row.id.encode(), b"up-1") == upstream.ledger[-1].sent
    assert answer.headers["x-stillhouse-capture"] == "stored"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["content-type"].startswith("text/event-stream" if stream else "application/json")


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


async def test_gzip_is_unpacked(app: App) -> None:
    answer = await ask(app, fault={"gzip": True})
    assert answer.status == 200 and answer.json["choices"][0]["message"]["content"]


async def test_events_that_were_sent_twice_are_kept_twice(app: App, upstream: FakeUpstream, store: SqlStore) -> None:
    answer = await ask(app, stream=True, fault={"twice": True})
    (row,) = store.completions(CompletionQuery()).items
    assert answer.body.replace(row.id.encode(), b"up-1") == upstream.ledger[-1].sent


@pytest.mark.parametrize("after", [1, 2, 10])
async def test_a_client_that_leaves(app: App, store: SqlStore, after: int) -> None:
    await call(app, "POST", CHAT, {**ASKED, "stream": True, "fault": {"drip": 150, "every": 0.002}}, leave_after=after)
    await app.recorder.drain(10)
    (row,) = store.completions(CompletionQuery(states=EVERY)).items
    assert (row.state, row.client_gone) == ("complete", True)


CANNOT_BE: list[tuple[Any, str | None]] = [
    (b"{", None),
    (b"[]", None),
    (b"", None),
    (b'"x"', None),
    ({"messages": []}, "model"),
    ({"model": 5, "messages": []}, "model"),
    ({"model": "gpt-4o"}, "messages"),
    ({**ASKED, "store": 1}, "store"),
    ({**ASKED, "stream": "yes"}, "stream"),
    ({**ASKED, "n": 0}, "n"),
    ({**ASKED, "n": True}, "n"),
    ({**ASKED, "n": 10**30}, "n"),
    ({**ASKED, "metadata": []}, "metadata"),
    ({**ASKED, "metadata": {"a": 1}}, "metadata.a"),
    ({**ASKED, "metadata": {str(i): "x" for i in range(17)}}, "metadata"),
]


async def test_requests_that_cannot_be(app: App, upstream: FakeUpstream) -> None:
    for body, param in CANNOT_BE:
        answer = await call(app, "POST", CHAT, body)
        assert answer.status == 400 and answer.json["error"]["type"] == "invalid_request_error"
        assert answer.json["error"]["param"] == param
    assert upstream.ledger == []


async def test_deep_nesting_is_refused_not_a_crash(app: App) -> None:
    deep = b'{"model":"gpt-4o","messages":' + b"[" * 4000 + b"]" * 4000 + b"}"
    assert (await call(app, "POST", CHAT, deep)).status == 400


async def test_a_body_over_the_cap_is_refused_while_it_is_read(app: App, upstream: FakeUpstream) -> None:
    announced = await call(app, "POST", CHAT, b"x" * 20, {"content-length": "10001"})
    parts = [b"x" * 4000] * 1000
    counted = await call(app, "POST", CHAT, parts=parts)
    for answer in (announced, counted):
        assert (answer.status, answer.json["error"]["code"]) == (413, "request_too_large")
        assert answer.headers["connection"] == "close"
    assert upstream.ledger == []


async def test_a_body_that_comes_too_slowly_is_refused(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.05)
    scope = {"type": "http", "method": "POST", "path": CHAT, "query_string": b"", "headers": [(b"host", b"localhost")]}
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent[0]["status"] == 408


async def test_an_unknown_model_names_those_there_are(app: App) -> None:
    answer = await ask(app, model="gpt-5")
    assert (answer.status, answer.json["error"]["code"]) == (404, "model_not_found")
    assert "gpt-4o" in answer.json["error"]["message"]


async def test_no_such_route(app: App) -> None:
    for method, path, status in [("GET", "/nowhere", 404), ("PUT", CHAT, 405), ("GET", CHAT + "/", 404)]:
        answer = await call(app, method, path)
        assert answer.status == status
        assert set(answer.json["error"]) == {"message", "type", "param", "code"}


async def test_a_fault_of_ours_says_nothing_of_itself(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("canary-inside")

    monkeypatch.setattr(app.gateway.router, "resolve", broken)
    answer = await ask(app)
    assert (answer.status, answer.json["error"]["code"]) == (500, "internal_error")
    assert b"canary" not in answer.body and "canary-inside" in caplog.text


async def test_a_store_that_cannot_keep_refuses_before_the_upstream_is_asked(
    settings: Settings, store: SqlStore, upstream: FakeUpstream
) -> None:
    async with running(App(store, settings.model_copy(update={"min_free_bytes": 2**60}))) as app:
        for stream in (False, True):
            answer = await ask(app, stream=stream)
            assert (answer.status, answer.json["error"]["code"]) == (503, "capture_unavailable")
            assert answer.headers["retry-after"] == "1"
        assert (await call(app, "GET", "/readyz")).status == 503
        assert (await call(app, "GET", "/healthz")).status == 200
        assert (await ask(app, store=False)).status == 200
    assert len(upstream.ledger) == 1


async def test_best_effort_lets_it_pass_and_says_so(settings: Settings, store: SqlStore, upstream: FakeUpstream) -> None:
    loose = settings.model_copy(update={"min_free_bytes": 2**60, "capture": "best_effort"})
    async with running(App(store, loose)) as app:
        for stream in (False, True):
            answer = await ask(app, stream=stream)
            assert (answer.status, answer.headers["x-stillhouse-capture"]) == (200, "dropped")
    assert states(store) == []


async def test_only_complete_ones_are_listed(app: App, store: SqlStore, tmp_path: Path) -> None:
    await ask(app, stream=True, fault={"cut_at": 500})
    await ask(app, fault={"status": 500})
    done = (await ask(app)).json["id"]
    listed = (await call(app, "GET", CHAT)).json
    assert [item["id"] for item in listed["data"]] == [done] == [listed["first_id"]] == [listed["last_id"]]
    cut = store.completions(CompletionQuery(states=("truncated",))).items[0]
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", ""), ("GET", "/messages")):
        answer = await call(app, method, f"{CHAT}/{cut.id}{path}", json.dumps({"metadata": {}}).encode())
        assert answer.status == 404 and "truncated" in answer.json["error"]["message"]


async def test_list_parameters(app: App) -> None:
    for query in ("limit=0", "limit=101", "limit=x", "limit=-1", "order=up"):
        answer = await call(app, "GET", f"{CHAT}?{query}")
        assert (answer.status, answer.json["error"]["param"]) == (400, query.partition("=")[0])


HALVES = "".join(
    f'data: {{"id":"up","created":1,"model":"m","choices":[{{"index":0,"delta":{{{delta}}},{end}}}]}}\n\n'
    for delta, end in [
        ('"content":"\\ud83d"', '"finish_reason":null'),
        ('"content":"\\ude00"', '"finish_reason":null'),
        ("", '"finish_reason":"stop"'),
    ]
)


async def test_a_character_cut_in_two_between_events_is_whole_again(app: App, store: SqlStore, upstream: FakeUpstream) -> None:
    answer = await ask(app, stream=True, fault={"raw": HALVES + "data: [DONE]\n\n"})
    (row,) = store.completions(CompletionQuery()).items
    assert answer.body.replace(row.id.encode(), b"up") == upstream.ledger[-1].sent
    stored = await call(app, "GET", f"{CHAT}/{row.id}")
    assert stored.status == 200 and stored.json["choices"][0]["message"]["content"] == "\U0001f600"
    assert (await call(app, "GET", CHAT)).json["data"] == [stored.json]


async def test_a_model_named_by_half_a_character_is_not_found_like_any_other(app: App) -> None:
    answer = await call(app, "POST", CHAT, b'{"model":"\\ud83d","messages":[{"role":"user","content":"hi"}]}')
    assert answer.status == 404
    assert "\ud83d" in json.loads(answer.body)["error"]["message"]


async def test_an_unstored_stream_is_broken_off_when_its_client_leaves(app: App, upstream: FakeUpstream) -> None:
    fault = {"drip": 150, "every": 0.02}
    await asyncio.wait_for(call(app, "POST", CHAT, {**ASKED, "store": False, "stream": True, "fault": fault}, leave_after=1), 10)
    await app.meter.flush()
    assert upstream.ledger[-1].sent != stream_body({**ASKED, "stream": True}, 1)


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

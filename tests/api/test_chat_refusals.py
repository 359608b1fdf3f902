"""What the one route that all traffic takes refuses, before the upstream is asked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from stillhouse.api import asgi
from stillhouse.app import App
from stillhouse.settings import Settings
from stillhouse.stores.sql import SqlStore
from tests.api.chats import ASKED, CHAT, ask
from tests.fakes.asgi import call, running
from tests.fakes.upstream import FakeUpstream

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


async def test_a_model_named_by_half_a_character_is_not_found_like_any_other(app: App) -> None:
    answer = await call(app, "POST", CHAT, b'{"model":"\\ud83d","messages":[{"role":"user","content":"hi"}]}')
    assert answer.status == 404
    assert "\ud83d" in json.loads(answer.body)["error"]["message"]


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

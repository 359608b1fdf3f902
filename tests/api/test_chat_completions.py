"""The one route that all traffic takes: what is passed on, byte by byte, also when it cannot be kept or its reader leaves."""

from __future__ import annotations

import asyncio

import pytest

from stillhouse.app import App
from stillhouse.completion import STATES, CompletionQuery
from stillhouse.settings import Settings
from stillhouse.stores.sql import SqlStore
from tests.api.chats import ASKED, CHAT, ask, states
from tests.fakes.asgi import call, running
from tests.fakes.upstream import FakeUpstream, stream_body


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


async def test_gzip_is_unpacked(app: App) -> None:
    answer = await ask(app, fault={"gzip": True})
    assert answer.status == 200 and answer.json["choices"][0]["message"]["content"]


@pytest.mark.parametrize("after", [1, 2, 10])
async def test_a_client_that_leaves(app: App, store: SqlStore, after: int) -> None:
    await call(app, "POST", CHAT, {**ASKED, "stream": True, "fault": {"drip": 150, "every": 0.002}}, leave_after=after)
    await app.recorder.drain(10)
    (row,) = store.completions(CompletionQuery(states=STATES)).items
    assert (row.state, row.client_gone) == ("complete", True)


async def test_best_effort_lets_it_pass_and_says_so(settings: Settings, store: SqlStore, upstream: FakeUpstream) -> None:
    loose = settings.model_copy(update={"min_free_bytes": 2**60, "capture": "best_effort"})
    async with running(App(store, loose)) as app:
        for stream in (False, True):
            answer = await ask(app, stream=stream)
            assert (answer.status, answer.headers["x-stillhouse-capture"]) == (200, "dropped")
    assert states(store) == []


async def test_an_unstored_stream_is_broken_off_when_its_client_leaves(app: App, upstream: FakeUpstream) -> None:
    fault = {"drip": 150, "every": 0.02}
    await asyncio.wait_for(call(app, "POST", CHAT, {**ASKED, "store": False, "stream": True, "fault": fault}, leave_after=1), 10)
    await app.meter.flush()
    assert upstream.ledger[-1].sent != stream_body({**ASKED, "stream": True}, 1)

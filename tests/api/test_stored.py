"""Stored completions over HTTP: which are listed, and what is in them."""

from __future__ import annotations

import json
from pathlib import Path

from stillhouse.app import App
from stillhouse.completion import CompletionQuery
from stillhouse.stores.sql import SqlStore
from tests.api.chats import CHAT, ask
from tests.fakes.asgi import call
from tests.fakes.upstream import FakeUpstream


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

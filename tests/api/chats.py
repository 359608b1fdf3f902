"""Chat requests to an application, and how what was kept of them stands."""

from __future__ import annotations

from typing import Any

from stillhouse.app import App
from stillhouse.completion import STATES, CompletionQuery
from stillhouse.stores.sql import SqlStore
from tests.fakes.asgi import Answer, call

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "store": True}


async def ask(app: App, **more: Any) -> Answer:
    return await call(app, "POST", CHAT, {**ASKED, **more})


def states(store: SqlStore) -> list[str]:
    return [row.state for row in store.completions(CompletionQuery(states=STATES, limit=1000)).items]

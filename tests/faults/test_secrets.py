"""Canaries in every place where a secret can stand, over every way a request can end: none is ever written down."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import aiohttp

from stillhouse.keys import hash_secret, new_secret
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from stillhouse.upstream import Timeouts
from tests.api.test_access import key
from tests.fakes.server import LiveServer, add_upstream
from tests.fakes.upstream import FakeUpstream

CANARY = "canary-7f3a9c51"
NAMES = (
    *("x-api-key", "api-key", "cookie", "proxy-authorization", "openai-organization", "openai-project", "x-forwarded-for"),
    *("x-goog-api-key", "user-agent", "referer", "idempotency-key", "traceparent"),
)
HEADERS = {name: f"{CANARY}-{name}" for name in NAMES}
FAULTS: list[dict[str, Any]] = [
    {},
    {"status": 401},
    {"status": 500},
    {"redirect": True},
    {"raw": "<html>"},
    {"reset_at": 20},
    {"cut_at": 300},
    {"stall_at": 300},
    {"delay": 3},
    {"malformed": True},
    {"error_event": True},
    {"no_done": True},
]


async def provoke(url: str, secret: str) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    headers = {**HEADERS, "authorization": f"Bearer {secret}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def ask(method: str, path: str, **more: Any) -> None:
            async with session.request(method, f"{url}{path}", **more) as response:
                await response.read()

        asked = [
            ask("POST", "/chat/completions", json={**body, "store": store, "stream": stream, "fault": fault})
            for fault in FAULTS
            for stream in (False, True)
            for store in (False, True)
        ]
        asked += [
            ask("POST", "/chat/completions", data=b"{"),
            ask("POST", "/chat/completions", json={**body, "model": "nobody"}),
            ask("POST", "/chat/completions", headers={"authorization": f"Bearer {CANARY}-wrong"}, json=body),
            ask("POST", "/chat/completions", headers={"origin": f"http://{CANARY}.example"}, json=body),
            ask("GET", f"/nowhere?key={CANARY}"),
            ask("GET", f"/models?api_key={CANARY}"),
            ask("GET", f"/chat/completions/{CANARY}"),
            ask("PUT", "/models", headers={"host": f"{CANARY}.example"}),
        ]
        await asyncio.gather(*asked)


async def test_no_secret_is_written_down(tmp_path: Path) -> None:
    data_dir, secret, upstream_key = tmp_path / "data", new_secret(), f"{CANARY}-upstream-key"
    with FakeUpstream() as upstream:
        times = Timeouts(connect=1, first_byte=1, idle=1)
        add_upstream(data_dir, upstream.base_url, timeouts=times, api_key_env="CANARY_KEY", max_retries=1)
        store = open_store(Settings(data_dir=data_dir))
        store.put_key(key(secret)).result()
        store.close()
        server = await asyncio.to_thread(LiveServer(data_dir, CANARY_KEY=upstream_key, PYTHONASYNCIODEBUG="1").start)
        await provoke(server.url, secret)
        assert await asyncio.to_thread(server.stop) == 0
        assert any(entry.headers.get("authorization") == f"Bearer {upstream_key}" for entry in upstream.ledger)
    written = [path for path in [*data_dir.rglob("*"), server.log] if path.is_file()]
    assert len(written) > 1
    wanted = [CANARY.encode(), secret.encode(), base64.b64encode(secret.encode()), secret.encode().hex().encode()]
    found = [(path.name, needle) for path in written for needle in wanted if needle in path.read_bytes()]
    assert found == []
    assert any(hash_secret(secret).encode() in path.read_bytes() for path in written), "the search itself works"

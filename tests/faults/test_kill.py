"""The server killed at random moments under load: what a client was told is kept, is kept, once, byte for byte."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import orjson
import pytest

from stillhouse.completion import STATES, Completion, CompletionQuery
from stillhouse.settings import Settings
from stillhouse.stores.base import Store
from stillhouse.stores.opening import open_store
from tests.fakes.server import LiveServer, add_upstream
from tests.fakes.upstream import FakeUpstream

CLIENTS = 16


@dataclass
class History:
    """What the clients saw: the digest of every answer they hold for whole, by its id."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    duplicated: int = 0
    kills: int = 0

    def acknowledge(self, body: bytes) -> None:
        first = body.partition(b"\n\n")[0].removeprefix(b"data: ")
        identifier = orjson.loads(first)["id"]
        self.duplicated += identifier in self.acknowledged
        self.acknowledged[identifier] = hashlib.sha256(body).hexdigest()


async def client(session: aiohttp.ClientSession, url: str, numbers: itertools.count[int], history: History) -> None:
    """Asks, plain and streaming in turn, until the server is gone."""
    while True:
        number = next(numbers)
        stream = number % 2 == 0
        body = {
            "model": "gpt-4o",
            "messages": [{"role": "user", "content": f"question {number}"}],
            "store": True,
            "stream": stream,
            "fault": {"drip": 400, "every": 0.003} if stream else {},
        }
        try:
            async with session.post(f"{url}/chat/completions", json=body) as response:
                answer = await response.read()
        except (aiohttp.ClientError, OSError):
            return
        if response.status == 200 and (answer.endswith(b"data: [DONE]\n\n") or not stream):
            history.acknowledge(answer)


async def load_until_killed(server: LiveServer, seconds: float, numbers: itertools.count[int], history: History) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        clients = [asyncio.create_task(client(session, server.url, numbers, history)) for _ in range(CLIENTS)]
        await asyncio.sleep(seconds)  # the moment of the kill is what is random here
        await asyncio.to_thread(server.kill)
        await asyncio.gather(*clients)
        history.kills += 1


def rows_of(store: Store) -> list[Completion]:
    rows: list[Completion] = []
    while True:
        page = store.completions(CompletionQuery(states=STATES, limit=1000, after=rows[-1].id if rows else None))
        rows += page.items
        if not page.has_more:
            return rows


def check(store: Store, upstream: FakeUpstream, history: History) -> str:
    rows = {row.id: row for row in rows_of(store)}
    complete = {identifier: row for identifier, row in rows.items() if row.state == "complete"}
    responses = {identifier: store.payload(identifier) for identifier in rows}
    served = {entry.raw: entry for entry in upstream.ledger if entry.raw}

    lost = [identifier for identifier in history.acknowledged if identifier not in complete]
    altered = []
    for identifier, row in complete.items():
        payload = responses[identifier]
        assert payload is not None and payload.response is not None
        digest = hashlib.sha256(payload.response).hexdigest()
        entry = served[payload.request]
        as_served = payload.response.replace(identifier.encode(), str(row.upstream_id).encode())
        honest = entry.whole and as_served == entry.sent and digest == row.response_sha256
        if not honest or history.acknowledged.get(identifier, digest) != digest:
            altered.append(identifier)
    recorded = {payload.request for payload in responses.values() if payload is not None}
    assert (lost, history.duplicated, altered) == ([], 0, [])
    assert set(served) <= recorded, "the upstream was asked without a record"
    assert len({payload.request for payload in responses.values() if payload}) == len(rows), "one request, two rows"
    assert not [row.id for row in rows.values() if row.state == "started"]
    return f"{history.kills} kills, {len(history.acknowledged)} acknowledged, {len(complete)} complete of {len(rows)}: 0 lost"


async def kill_loop(tmp_path: Path, kills: int) -> str:
    data_dir, numbers, history = tmp_path / "data", itertools.count(), History()
    chance = random.Random(kills)
    with FakeUpstream() as upstream:
        add_upstream(data_dir, upstream.base_url)
        for _ in range(kills):
            server = await asyncio.to_thread(LiveServer(data_dir).start)
            await load_until_killed(server, chance.uniform(0.1, 0.8), numbers, history)
        server = await asyncio.to_thread(LiveServer(data_dir).start)  # recovers
        assert await asyncio.to_thread(server.stop) == 0
        store = open_store(Settings(data_dir=data_dir))
        try:
            assert len(history.acknowledged) > kills
            return check(store, upstream, history)
        finally:
            store.close()


@pytest.mark.slow
async def test_ten_kills(tmp_path: Path) -> None:
    print(await kill_loop(tmp_path, 10))


@pytest.mark.full
@pytest.mark.timeout(3600)
async def test_three_hundred_kills(tmp_path: Path) -> None:
    print(await kill_loop(tmp_path, 300))

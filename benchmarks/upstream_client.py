"""Which HTTP client should carry requests to the upstream: CPU time a request, which other load on the machine does not change.

    python benchmarks/upstream_client.py [--requests 4000]

Rounds are interleaved; the upstream is benchmarks/fake_upstream.py. httpx2 comes with the openai SDK (extra `demo`).
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import httpx2
import uvloop

BODY = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "A question of some length."}]}'
HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}
CONCURRENCY = 16
ROUNDS = 5


async def load(ask: Callable[[], Awaitable[bytes]], requests: int) -> float:
    """CPU microseconds a request, `CONCURRENCY` at once."""

    async def client() -> None:
        for _ in range(requests // CONCURRENCY):
            assert await ask()

    await ask()
    began = time.process_time()
    await asyncio.gather(*(client() for _ in range(CONCURRENCY)))
    return (time.process_time() - began) / requests * 1e6


async def compare(url: str, requests: int) -> None:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None)) as client,
    ):

        async def with_aiohttp() -> bytes:
            async with session.post(url, data=BODY, headers=HEADERS) as response:
                return await response.read()

        async def with_httpx2() -> bytes:
            return (await client.post(url, content=BODY, headers=HEADERS)).content

        clients = {"aiohttp": with_aiohttp, "httpx2": with_httpx2}
        taken: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(ROUNDS):
            for name, ask in clients.items():
                taken[name].append(await load(ask, requests))
    for name, times in taken.items():
        print(f"{name}: {statistics.median(times):.0f} microseconds of CPU a request ({min(times):.0f} to {max(times):.0f})")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--requests", type=int, default=4000)
    options = arguments.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, str(Path(__file__).parent / "fake_upstream.py"), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as upstream:
        assert upstream.stdout is not None and upstream.stdout.readline() == b"ready\n"
        uvloop.run(compare(f"http://127.0.0.1:{port}/v1/chat/completions", options.requests))
        upstream.terminate()


if __name__ == "__main__":
    main()

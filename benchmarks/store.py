"""What durability costs: exchanges a second kept in the store, each acknowledged after its commit is on disk, by callers at once.

    python benchmarks/store.py [--seconds 3] [--callers 1 8 32]

Every exchange is a begin and a finish, both awaited, with 2 KB of prompt and 1 KB of answer that barely compress. The line for
`one commit each` keeps the same rows without group commit, one transaction after the other: the ratio is what grouping brings.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from stillhouse.completion import Completion
from stillhouse.ids import new_id
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from stillhouse.stores.sql import SqlStore

PROMPT = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": secrets.token_hex(1000)}]})
ANSWER = orjson.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": secrets.token_hex(500)}}]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 8, 32])
    options = parser.parse_args()
    for callers in options.callers:
        with _store() as store:
            asyncio.run(_measure(f"{callers:3d} callers", store, callers, options.seconds, asyncio.Semaphore(callers)))
    with _store() as store:
        most = max(options.callers)
        asyncio.run(_measure(f"{most:3d} callers, one commit each", store, most, options.seconds, asyncio.Semaphore(1)))


@contextmanager
def _store() -> Iterator[SqlStore]:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Settings(data_dir=Path(folder)), role="server")
        yield store
        store.close()


async def _measure(name: str, store: SqlStore, callers: int, seconds: float, at_once: asyncio.Semaphore) -> None:
    end = time.perf_counter() + seconds
    took: list[float] = []

    async def call() -> None:
        while time.perf_counter() < end:
            async with at_once:
                start = time.perf_counter()
                await _exchange(store)
                took.append(time.perf_counter() - start)

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(call() for _ in range(callers)))
    rate = len(took) / (time.perf_counter() - started)
    middle, slow = statistics.median(took) * 1e3, statistics.quantiles(took, n=100)[98] * 1e3
    busy = (time.process_time() - cpu) / len(took) * 1e3
    print(f"{name:32s} {rate:7.0f} exchanges/s   p50 {middle:6.2f} ms   p99 {slow:6.2f} ms   CPU {busy:.2f} ms")


async def _exchange(store: SqlStore) -> None:
    begun = Completion(
        id=new_id("chatcmpl"),
        created=0,
        state="started",
        instance="i",
        requested_model="m",
        model="m",
        upstream="u",
        stream=False,
    )
    await asyncio.wrap_future(store.begin_completion(begun, PROMPT))
    await asyncio.wrap_future(store.finish_completion(begun.model_copy(update={"state": "complete"}), ANSWER))


if __name__ == "__main__":
    main()

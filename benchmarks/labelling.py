"""Labelling at scale: `label` against a teacher with a rate limit, beside a plain asyncio + semaphore script doing the same.

    python benchmarks/labelling.py --prompts 20000
    python benchmarks/labelling.py --prompts 20000 --only plain

The teacher (`tests/fakes/teacher.py`, a process of its own) takes 150 to 300 ms, admits 400 requests a second and refuses 1 % of
them by chance. Ideal is prompts / 400 seconds. Memory is the asking process's own, sampled twice a second, from a quarter of the
answers to the last one. CPU time is what other work on the machine does not change.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import aiohttp
import uvloop

from tests.fakes.teacher import TeacherProcess

RATE, LOW, HIGH, BURST, CHANCE = 400, 0.15, 0.3, 400, 0.01


def rss() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def stillhouse(url: str, prompts: int, concurrency: int, folder: Path) -> dict[str, Any]:
    """The verb, whole: ledger, dataset, store."""
    from stillhouse.apply import Standing
    from stillhouse.jobs.labels import Wish, label_source
    from stillhouse.settings import Settings
    from stillhouse.stores.opening import open_store
    from stillhouse.upstream import Upstream
    from stillhouse.workspace import Workspace

    settings = Settings(data_dir=folder / "data")
    store = open_store(settings)
    store.put_upstream(Upstream(name="t", base_url=url, models=("teacher",))).result()
    store.close()
    questions = folder / "questions.txt"
    with questions.open("w") as file:
        file.writelines(f"question number {i}: {' '.join(random.Random(i).choices(WORDS, k=12))}\n" for i in range(prompts))
    seen: dict[str, float] = {}
    memory: list[float] = []

    def watch(standing: Standing) -> None:
        seen.setdefault("begin", time.monotonic())
        seen.setdefault("cpu_begin", time.process_time())
        seen["end"], seen["cpu_end"] = time.monotonic(), time.process_time()
        if standing.done >= prompts / 4:
            memory.append(rss())

    workspace = Workspace(settings)
    wish = Wish(source=str(questions), model="teacher", out="labelled", concurrency=concurrency)
    labelled = await label_source(workspace, wish, watch)
    assert labelled is not None
    cpu = labelled.standing.model_dump()
    workspace.close()
    return {
        "seconds": seen["end"] - seen["begin"],
        "asking_ms": (seen["cpu_end"] - seen["cpu_begin"]) * 1000 / prompts,
        "memory_first": memory[0],
        "memory_last": memory[-1],
        "stored": sum(labelled.dataset.counts.values()),
        "left_out": labelled.dataset.removed,
        "retried": cpu["retried"],
    }


async def plain(url: str, prompts: int, concurrency: int, folder: Path) -> dict[str, Any]:
    """What is written in an afternoon: a semaphore, retries with backoff, answers in memory, one file at the end."""
    semaphore, answers, memory = asyncio.Semaphore(concurrency), dict[int, str](), list[float]()
    failed = 0

    async def one(session: aiohttp.ClientSession, i: int) -> None:
        nonlocal failed
        text = f"question number {i}: {' '.join(random.Random(i).choices(WORDS, k=12))}"
        body = {"model": "teacher", "messages": [{"role": "user", "content": text}]}
        async with semaphore:
            for attempt in range(6):
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    found = await response.json()
                if response.status == 200:
                    answers[i] = found["choices"][0]["message"]["content"]
                    if len(answers) >= prompts / 4 and len(answers) % 200 == 0:
                        memory.append(rss())
                    return
                await asyncio.sleep(2**attempt * random.random())
            failed += 1

    begin, cpu = time.monotonic(), time.process_time()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(one(session, i) for i in range(prompts)))
    seconds, asking_ms = time.monotonic() - begin, (time.process_time() - cpu) * 1000 / prompts
    (folder / "answers.json").write_text(json.dumps(answers))
    took = {"seconds": seconds, "asking_ms": asking_ms, "memory_first": memory[0], "memory_last": memory[-1]}
    return {**took, "stored": len(answers), "failed": failed}


WORDS = [f"word{i}" for i in range(2000)]
WAYS = {"stillhouse": (stillhouse, 400), "plain, 100 at a time": (plain, 100), "plain, 400 at a time": (plain, 400)}


def measure(way: str, prompts: int) -> dict[str, Any]:
    """One way, in a process of its own, against a teacher of its own."""
    options = ["--low", LOW, "--high", HIGH, "--rate", RATE, "--burst", BURST, "--refuse", CHANCE]
    with TeacherProcess(*map(str, options)) as teacher, tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--child", way, "--url", teacher.url, "--prompts", str(prompts), "--folder", folder]
        found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
        return {**found, "served": teacher.ledger()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompts", type=int, default=20_000)
    parser.add_argument("--only", default="")
    for hidden in ("--child", "--url", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run, concurrency = WAYS[options.child]
        begin = uvloop.run if options.child == "stillhouse" else asyncio.run
        found = begin(run(options.url, options.prompts, concurrency, Path(options.folder)))
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps({**found, "cpu_ms": (used.ru_utime + used.ru_stime) * 1000 / options.prompts}))
        return
    ideal = options.prompts / RATE
    for way in WAYS:
        if way.startswith(options.only):
            found = measure(way, options.prompts)
            served = found["served"]
            print(
                f"{way:22} {found['seconds']:6.1f} s, {ideal / found['seconds']:6.1%} of ideal, "
                f"{found['memory_first']:.0f} -> {found['memory_last']:.0f} MB, {found['asking_ms']:.2f} ms CPU an answer "
                f"({found['cpu_ms']:.2f} with start and dataset), "
                f"{found['stored']} stored; teacher: {served['answered']} answered, {served['refused']} refused, "
                f"at most {served['most']} at once",
                flush=True,
            )
            print("   ", {name: value for name, value in found.items() if name in ("left_out", "retried", "failed")}, flush=True)


if __name__ == "__main__":
    main()

"""A student's child process: what happens when its readers leave, when it is killed, and when whoever started it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stillhouse.errors import StreamBrokenError, UpstreamError
from stillhouse.models import student as student_module
from stillhouse.models.student import StudentModel
from stillhouse.models.student_process import end
from tests.fakes.processes import gone
from tests.models.asking import ask, until

LONG = 200
"""Tokens of an answer that is still under way when something happens to it."""
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_readers_who_leave_free_their_slots(folder: Path) -> None:
    model = StudentModel(folder, model_id="student-1", queue=0, batch=2, threads=1)
    try:
        for _ in range(60):
            stream = model.stream(ask(max_tokens=LONG))
            await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]
            waiting = asyncio.create_task(model.complete(ask(max_tokens=LONG)))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await model.check()
        assert len((await model.complete(ask(n=2))).choices) == 2
    finally:
        await model.close()


async def test_a_child_killed_midway_breaks_the_stream_and_the_next_request_is_answered(folder: Path) -> None:
    model = StudentModel(folder, model_id="student-1", threads=1)
    try:
        await model.warm()
        first = model.pid
        assert first is not None
        stream = model.stream(ask(max_tokens=LONG))
        await anext(stream)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(StreamBrokenError, match="died") as caught:
            async for _ in stream:
                pass
        assert caught.value.status == 503
        assert (await model.complete(ask())).text
        assert model.pid not in (None, first)
    finally:
        await model.close()


async def test_a_child_killed_under_a_plain_request_answers_503(folder: Path) -> None:
    model = StudentModel(folder, model_id="student-1", threads=1)
    try:
        await model.warm()
        assert model.pid is not None
        os.kill(model.pid, signal.SIGSTOP)
        waiting = asyncio.create_task(model.complete(ask()))
        await asyncio.sleep(0)
        os.kill(model.pid, signal.SIGKILL)
        with pytest.raises(UpstreamError) as caught:
            await waiting
        assert caught.value.status == 503
        assert caught.value.headers["retry-after"] == "1"
    finally:
        await model.close()


async def test_a_request_while_a_dead_child_is_reaped_starts_no_second_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[asyncio.subprocess.Process] = []
    create, reap = asyncio.create_subprocess_exec, asyncio.Event()

    async def recorded(*command: Any, **options: Any) -> asyncio.subprocess.Process:
        started.append(await create(*command, **options))
        return started[-1]

    async def slow(process: asyncio.subprocess.Process) -> None:
        await reap.wait()
        await end(process)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", recorded)
    monkeypatch.setattr(student_module, "end", slow)
    model = StudentModel(folder, model_id="student-1", threads=1)
    try:
        await model.warm()
        assert model.pid is not None
        os.kill(model.pid, signal.SIGKILL)
        await until(lambda: model.pid is None)
        waiting = asyncio.create_task(model.complete(ask()))
        await asyncio.sleep(0)
        reap.set()
        assert (await waiting).text
        await model.warm()
        assert len(started) == 2
    finally:
        await model.close()
        for process in started[2:]:
            await end(process)


async def test_a_folder_that_was_tampered_with_is_not_served(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    with (copy / "tokenizer.json").open("a") as file:
        file.write(" ")
    model = StudentModel(copy, model_id="student-1")
    try:
        with pytest.raises(UpstreamError, match=r"tokenizer.json was changed") as caught:
            await model.complete(ask())
        assert caught.value.status == 503
    finally:
        await model.close()


async def test_closing_reaps_the_child(folder: Path) -> None:
    model = StudentModel(folder, model_id="student-1", threads=1)
    await model.warm()
    pid = model.pid
    assert pid is not None
    await model.close()
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(UpstreamError, match="closed"):
        await model.complete(ask())


PARENT = """
import asyncio, sys
from pathlib import Path
from stillhouse.models.student import StudentModel

async def main():
    model = StudentModel(Path(sys.argv[1]), model_id="x", threads=1)
    await model.warm()
    print(model.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_the_child_dies_with_a_parent_that_is_killed(folder: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(folder)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent:
        child = int(parent.stdout.readline())
        assert not gone(child)
        parent.kill()
        parent.wait()
    await until(lambda: gone(child))

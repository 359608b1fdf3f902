"""What every executor does, run over the table, and over the one that other tests use in place of the local one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from stillhouse.jobs import processes, queue
from stillhouse.jobs.executors import EXECUTORS
from stillhouse.jobs.executors.base import Executor
from stillhouse.run import Run
from tests.fakes.forking import SOCKET
from tests.jobs.conftest import Bench, until


@pytest.fixture(params=[*EXECUTORS.names(), "forked"])
def executor(request: pytest.FixtureRequest, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Executor:
    if request.param == "forked":
        monkeypatch.setenv(SOCKET, request.getfixturevalue("fork_environ")[SOCKET])
    bench.settings = bench.settings.model_copy(update={"jobs_executor": request.param})
    return queue.executor_of(bench.settings)


def begun(bench: Bench, executor: Executor, kind: str, **spec: object) -> Run:
    run = bench.new_run().model_copy(update={"kind": kind, "spec": spec})
    queue.submit(bench.store, bench.settings, run)
    assert queue.start(bench.store, executor, run)
    return run


def test_a_worker_is_started_waited_for_and_what_it_prints_is_kept(bench: Bench, executor: Executor) -> None:
    run = begun(bench, executor, "count", steps=3, allowed=str(bench.allowed), prints="a word")
    bench.until_state(run, "running")
    ended = threading.Event()

    def wait() -> None:
        if executor.wait(bench.look(run)):
            ended.set()

    threading.Thread(target=wait, daemon=True).start()
    assert not ended.is_set()
    bench.allow(3)
    assert bench.until_state(run, "succeeded").result == {"sum": 6}
    assert ended.wait(30) or not executor.wait(bench.look(run))
    assert "a word" in bench.printed(run)


def test_a_worker_that_is_hurried_stops(bench: Bench, executor: Executor) -> None:
    run = begun(bench, executor, "wait")
    bench.until_step(run, 0)
    bench.until_state(run, "running")
    executor.hurry(bench.look(run))
    bench.until_state(run, "stopped")
    executor.hurry(bench.look(run))  # nobody is there
    executor.kill(bench.look(run))


def test_a_cancelled_worker_takes_no_step_after_the_one_that_it_is_at(bench: Bench, executor: Executor) -> None:
    bench.allow(3)
    run = begun(bench, executor, "count", steps=1_000_000, allowed=str(bench.allowed))
    bench.until_step(run, 3)
    assert queue.cancel(bench.store, bench.settings, run).state == "cancelling"
    bench.allow(1_000_000)  # thousands of steps are between two of its looks at the store
    bench.until_state(run, "cancelled")
    assert bench.trace(run)[3:] in ([], [(1, 4)])


def test_a_worker_that_is_killed_is_gone(bench: Bench, executor: Executor) -> None:
    run = begun(bench, executor, "deaf")
    bench.until_step(run, 1)
    working = bench.look(run)
    executor.kill(working)
    bench.until_state(run, "interrupted")
    assert executor.wait(working) or processes.state_of(working.pid or 0, working.boot or "") != "alive"


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_a_wish_that_is_cut_off_costs_nobody_else_a_worker(bench: Bench, fork_environ: dict[str, str], part: float) -> None:
    """Servers are killed by tests at any moment: before they have said what to start, and before they hear what was started."""
    wish = json.dumps({"arguments": ["--help"], "folder": str(bench.settings.data_dir), "environ": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX) as cut:
        cut.connect(fork_environ[SOCKET])
        cut.sendall(wish[: int(part * len(wish))])
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(fork_environ[SOCKET])
        asked.sendall(wish)
        asked.shutdown(socket.SHUT_WR)
        assert int(asked.recv(20)) > 0


def test_a_worker_outlives_who_started_it(bench: Bench, executor: Executor) -> None:
    run = queue.submit(bench.store, bench.settings, bench.new_run().model_copy(update={"kind": "wait", "spec": {}}))
    bench.store.close()
    code = (
        "import sys; from pathlib import Path; from stillhouse.jobs import queue; from stillhouse.settings import Settings;"
        "from stillhouse.stores.opening import open_store; settings = Settings(data_dir=Path(sys.argv[1]));"
        "store = open_store(settings); run = store.run(sys.argv[2]);"
        "assert queue.start(store, queue.executor_of(settings), run); store.close()"
    )
    environ = {**os.environ, "STILLHOUSE_JOBS_EXECUTOR": bench.settings.jobs_executor}
    subprocess.run([sys.executable, "-c", code, str(bench.settings.data_dir), run.id], check=True, env=environ)
    bench.reopen()
    bench.until_state(run, "running")
    assert queue.cancel(bench.store, bench.settings, run).state == "cancelling"
    bench.until_state(run, "cancelled")
    until(lambda: processes.state_of(bench.look(run).pid or 0, bench.look(run).boot or "") != "alive", lambda: "its end")

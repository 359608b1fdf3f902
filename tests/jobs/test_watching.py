"""`stillhouse train watch` in a process of its own: leaving it leaves the run going."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from stillhouse.jobs import queue
from tests.jobs.conftest import Bench


def watch(bench: Bench, run_id: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "stillhouse.cli.main", "--data-dir", str(bench.settings.data_dir)]
    command += ["train", "watch", run_id, "--json"]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_hear_ctrl_c)


def _hear_ctrl_c() -> None:
    """A shell starts what runs in the background deaf to Ctrl-C, and children inherit that: tests may run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_stops_the_watching_and_not_the_run(bench: Bench) -> None:
    bench.allow(2)
    run = bench.start()
    watcher = watch(bench, run.id)
    assert watcher.stdout is not None
    assert "Started." in watcher.stdout.readline()
    watcher.send_signal(signal.SIGINT)
    _, talk = watcher.communicate(timeout=30)
    assert watcher.returncode == 130
    assert f"stillhouse train stop {run.id}" in talk
    bench.allow(8)
    bench.until_state(run, "succeeded")


@pytest.mark.parametrize(("end", "code"), [("kill", 1), ("stop", 0)])
def test_the_watcher_s_exit_code_tells_how_the_run_ended(bench: Bench, end: str, code: int) -> None:
    bench.allow(2)
    run = bench.start()
    bench.until_step(run, 2)
    watcher = watch(bench, run.id)
    if end == "kill":
        bench.kill(run)
    else:
        queue.pause(bench.store, bench.settings, bench.look(run))
    out, talk = watcher.communicate(timeout=30)
    assert watcher.returncode == code, talk
    state = "interrupted" if end == "kill" else "paused"
    assert f'"state":"{state}"' in out.splitlines()[-1]
    assert (f"stillhouse train resume {run.id}" in talk) is (end == "kill")

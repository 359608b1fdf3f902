"""Starts runs on this machine: each a detached process that outlives the terminal and the server.

The row in the store is written before the process starts, so a crash in between leaves a run that can be resumed, not a process
nobody knows of. What the process does stands in `worker.py`; what it left behind is judged in `watch.py`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from stillhouse.errors import ConflictError
from stillhouse.jobs import processes
from stillhouse.jobs.journal import LOG
from stillhouse.jobs.watch import ENDED_STATES
from stillhouse.run import Run
from stillhouse.settings import Settings
from stillhouse.stores.base import RunStore


def submit(store: RunStore, settings: Settings, run: Run) -> None:
    """Keep a new run and start its process."""
    store.put_run(run).result()
    start(store, settings, run)


def resume(store: RunStore, settings: Settings, run: Run) -> None:
    """Start an ended run again, from its last checkpoint. Raises ConflictError unless it stopped, failed or was interrupted."""
    if run.state not in ENDED_STATES or run.state == "succeeded":
        raise ConflictError(f"Run {run.id} is {run.state}; only a stopped, failed or interrupted run can be resumed.")
    changes: dict[str, object] = {"state": "queued", "heartbeat": time.time(), "error": None, "finished": None}
    if not store.update_run(run.id, run.epoch, {**changes, "pid": None, "boot": None}).result():
        raise ConflictError(f"Run {run.id} was resumed by somebody else just now.")
    start(store, settings, run)


def request_stop(store: RunStore, run: Run) -> None:
    """Ask a run to stop after its current step, its checkpoint kept. Raises ConflictError when it has ended."""
    if run.state in ENDED_STATES:
        raise ConflictError(f"Run {run.id} has ended already: it is {run.state}.")
    state = "stopping" if run.state == "running" else "stopped"
    store.update_run(run.id, run.epoch, {"state": state}).result()
    if run.pid is not None and run.boot is not None and processes.state_of(run.pid, run.boot) == "alive":
        os.kill(run.pid, signal.SIGTERM)  # so that it need not wait for its next look at the store


def start(store: RunStore, settings: Settings, run: Run) -> None:
    """Start a process for a run that stands in the store; if another one has the run, it ends by itself."""
    folder = settings.runs / run.id
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "stillhouse.jobs.worker", run.id, "--data-dir", str(settings.data_dir.absolute())]
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder
        )
    # Whoever started it reaps it, however long that is; the run itself never depends on it.
    threading.Thread(target=process.wait, name=f"reap {run.id}", daemon=True).start()
    boot = processes.identity(process.pid)
    if boot is not None:  # refused, rightly, once the worker has claimed the run itself
        store.update_run(run.id, run.epoch, {"pid": process.pid, "boot": boot}).result()

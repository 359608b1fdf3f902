"""Workers on this machine: each a detached process that outlives the terminal and the server.

What the process does stands in `worker.py`; what it left behind is judged in `watch.py`. A worker that an earlier server started
is as good as one's own: it is found by its run's pid and boot.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress

from stillhouse.errors import StoreError
from stillhouse.jobs import processes
from stillhouse.jobs.executors.base import Started
from stillhouse.jobs.journal import LOG
from stillhouse.run import Run
from stillhouse.settings import Settings


class LocalExecutor:
    """`python -m stillhouse.jobs.worker RUN`, in a session of its own; what it prints goes to the run's `log.txt`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def start(self, run: Run) -> Started:
        folder = self._settings.runs / run.id
        command = [sys.executable, "-m", "stillhouse.jobs.worker", run.id, "--data-dir", str(self._settings.data_dir.absolute())]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / LOG).open("ab") as log:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder
                )
        except OSError as exc:
            raise StoreError(f"No worker could be started for {run.id}: {exc}.") from exc
        # Whoever started it reaps it, however long that is; the run itself never depends on it.
        threading.Thread(target=process.wait, name=f"reap {run.id}", daemon=True).start()
        return Started(process.pid, processes.identity(process.pid) or processes.ended())

    def hurry(self, run: Run) -> None:
        self._send(run, signal.SIGTERM)

    def kill(self, run: Run) -> None:
        self._send(run, signal.SIGKILL)

    def wait(self, run: Run) -> bool:
        if run.pid is None or run.boot is None or not hasattr(os, "pidfd_open"):
            return False
        try:
            descriptor = os.pidfd_open(run.pid)
        except ProcessLookupError:
            return processes.state_of(run.pid, run.boot) == "gone"
        except OSError:
            return False
        try:
            if processes.state_of(run.pid, run.boot) != "alive":  # asked after opening: from here on the pid cannot be another's
                return processes.state_of(run.pid, run.boot) == "gone"
            select.select([descriptor], [], [])
        finally:
            os.close(descriptor)
        return True

    def _send(self, run: Run, number: signal.Signals) -> None:
        if run.pid is not None and run.boot is not None and processes.state_of(run.pid, run.boot) == "alive":
            with suppress(ProcessLookupError):  # it ended just now
                os.kill(run.pid, number)

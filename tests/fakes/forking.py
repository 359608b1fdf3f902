"""Workers forked from a process that has PyTorch, transformers and scikit-learn already: importing them is most of a small run.

`STILLHOUSE_JOBS_EXECUTOR=forked` in the environment of a server or a command takes this executor through the entry point of the
plugin that `fork_server` lays beside it. Its workers are processes of their own as those of the local executor are: a session, a
folder and a log of their own; killed, hurried and watched by the same code. How a worker is really started is proved in
`tests/jobs`, which keep to the local executor.

`python -m tests.fakes.forking SOCKET` is the process that forks. It ends with its standard input, should the tests be killed.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stillhouse.errors import StoreError
from stillhouse.jobs import processes
from stillhouse.jobs.executors.base import Started
from stillhouse.jobs.executors.local import LocalExecutor
from stillhouse.jobs.journal import LOG
from stillhouse.run import Run

ROOT = Path(__file__).parent.parent.parent
SOCKET = "TESTS_FORK_SERVER"
"""The variable that names the socket."""
ENTRY_POINT = "[stillhouse.executors]\nforked = tests.fakes.forking:ForkedExecutor\n"
MODULES = (
    "stillhouse.jobs.worker",
    "stillhouse.jobs.evaluations",
    "stillhouse.jobs.batch_work",
    "stillhouse.training.beginning",
    "stillhouse.students.causal",
    "transformers.models.llama.modeling_llama",
    "torch._dynamo",
    "stillhouse.students.linear",
)
"""What is there before the first fork, as far as it is installed."""


class ForkedExecutor(LocalExecutor):
    """Asks the process behind the socket for a worker; all else is the local executor's."""

    def start(self, run: Run) -> Started:
        folder = self._settings.runs / run.id
        folder.mkdir(parents=True, exist_ok=True)
        wish = {"arguments": [run.id, "--data-dir", str(self._settings.data_dir.absolute())], "folder": str(folder.absolute())}
        try:
            with socket.socket(socket.AF_UNIX) as asked:
                asked.connect(os.environ[SOCKET])
                asked.sendall(json.dumps({**wish, "environ": dict(os.environ)}).encode())
                asked.shutdown(socket.SHUT_WR)
                pid = int(_all(asked))
        except (OSError, ValueError) as exc:
            raise StoreError(f"No worker could be started for {run.id}: {exc}.") from exc
        return Started(pid, processes.identity(pid) or processes.ended())


@contextmanager
def fork_server(folder: Path) -> Iterator[dict[str, str]]:
    """A forking process while the block lasts; yields the environment in which `forked` is an executor and reaches it."""
    plugin = folder / "forked-1.dist-info"
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: forked\nVersion: 1\n")
    (plugin / "entry_points.txt").write_text(ENTRY_POINT)
    path = folder / "socket"
    command = [sys.executable, "-m", "tests.fakes.forking", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        paths = os.pathsep.join(path for path in (str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")) if path)
        try:
            yield {SOCKET: str(path), "STILLHOUSE_JOBS_EXECUTOR": "forked", "PYTHONPATH": paths}
        finally:
            process.kill()


def main(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        for module in MODULES:
            with suppress(ModuleNotFoundError):
                importlib.import_module(module)
        gc.freeze()  # a collection in a worker would copy every page, too
        print("listening", flush=True)
        assert len(list(Path("/proc/self/task").iterdir())) == 1, "threads do not survive a fork"
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
        wish = _wish(listening)
    if wish is not None:
        _become_worker(wish)


def _wish(listening: socket.socket) -> dict[str, Any] | None:
    """Fork at every wish. Returns in each child, with the wish; in the parent, with None, when standard input ends."""
    with selectors.DefaultSelector() as ready:
        ready.register(listening, selectors.EVENT_READ)
        ready.register(sys.stdin, selectors.EVENT_READ)
        while True:
            found = {key.fileobj for key, _ in ready.select()}
            if sys.stdin in found:
                return None
            asking, _ = listening.accept()
            with asking, suppress(OSError, ValueError):  # who asks may be killed before it said all, or before it hears
                wish: dict[str, Any] = json.loads(_all(asking))
                if (pid := os.fork()) == 0:
                    return wish
                asking.sendall(str(pid).encode())


def _become_worker(wish: dict[str, Any]) -> None:
    """A session, a folder, a log, an environment of its own, as the local executor gives them."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.chdir(wish["folder"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(wish["environ"])
    sys.path[:0] = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    sys.argv = ["stillhouse.jobs.worker", *wish["arguments"]]
    worker = importlib.import_module("stillhouse.jobs.worker")
    with suppress(SystemExit):  # nobody asks for its status
        worker.main()
    # All that a process does at its end but one thing: taking apart what was imported, which would copy every page of it.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _all(connection: socket.socket) -> bytes:
    """What the other side sends until it closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

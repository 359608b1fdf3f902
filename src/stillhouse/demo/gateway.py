"""The real server as a child process of the demo: `stillhouse serve` on a free port, stopped by its pid.

In a process of its own because that is how it is used; what runs in the demo's own process is the client.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from stillhouse.errors import StoreError

LOG = "server.log"
STOP_SECONDS = 20.0


@contextmanager
def serving(data_dir: Path) -> Iterator[str]:
    """A running server's base URL, as the SDK takes it. Raises StoreError, with what it said, when it does not start."""
    data_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "stillhouse.cli.main", "--data-dir", str(data_dir), "serve", "--port", "0", "--json"]
    environ = {**os.environ, "STILLHOUSE_JOBS_CPU": "2"}  # student and control are trained at once
    with (data_dir / LOG).open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=environ)
    try:
        yield _url(process, data_dir / LOG)
    finally:
        _stop(process)


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()  # said once it answers; empty when it ended instead
    if not line:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise StoreError(f"The server did not start: {said[-1] if said else 'it said nothing'} (all of it: {log}).")
    return str(orjson.loads(line)["url"])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()

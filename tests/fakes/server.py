"""The real server: `stillhouse serve` in a process of its own, on a free port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from stillhouse.upstream import Timeouts, Upstream

TIMEOUTS = Timeouts(connect=2.0, first_byte=20.0, idle=20.0)


class LiveServer:
    """`with LiveServer(data_dir) as server:`; `server.url` is the base URL for a client. stderr goes to `<data_dir>/../log`."""

    def __init__(self, data_dir: Path, port: int = 0, **environ: str) -> None:
        self.data_dir = data_dir
        self.port = port
        self.environ = {**os.environ, **environ}
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self.url = ""

    def start(self) -> LiveServer:
        command = [sys.executable, "-m", "stillhouse.cli.main", "--data-dir", str(self.data_dir), "serve", "--json"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port)], stdout=subprocess.PIPE, stderr=log, env=self.environ
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.url = json.loads(line)["url"]
        self.port = int(self.url.rpartition(":")[2].removesuffix("/v1"))
        return self

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def __enter__(self) -> LiveServer:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.kill()
        elif self.process.stdout is not None:
            self.process.stdout.close()


def add_upstream(data_dir: Path, base_url: str, *models: str, timeouts: Timeouts = TIMEOUTS, **more: object) -> None:
    """What `stillhouse upstream add` does, with other timeouts."""
    store = open_store(Settings(data_dir=data_dir))
    fields = {"name": "fake", "base_url": base_url, "models": models or ("gpt-4o",), "timeouts": timeouts, **more}
    upstream = Upstream.model_validate(fields)
    store.put_upstream(upstream).result()
    store.close()

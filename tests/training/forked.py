"""Processes to be stopped or killed in training, forked from one that has PyTorch: importing it is most of a small run's time.

They are processes of their own all the same: own memory, own signals, own exit status, killed by SIGKILL.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TextIO

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["stillhouse.training.beginning", "stillhouse.students.causal", "transformers.models.llama.modeling_llama", "torch._dynamo"]
)


class Forked:
    """What `subprocess.Popen` offers of `main(arguments)`: two pipes, signals, an exit status (minus a fatal signal)."""

    def __init__(self, main: Callable[[list[str]], int], *arguments: object, **environ: str) -> None:
        (out, said), (err, complained) = (CONTEXT.Pipe(duplex=False) for _ in range(2))
        given = [str(argument) for argument in arguments]
        self._process = CONTEXT.Process(target=_run, args=(main, given, environ, said, complained))
        self._process.start()
        said.close()
        complained.close()
        self.stdout, self.stderr = _text(out), _text(err)

    @property
    def returncode(self) -> int | None:
        """None while it lives."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What is left of both pipes, once it has ended and closed them."""
        said = self.stdout.read(), self.stderr.read()
        self.wait(timeout)
        return said

    def wait(self, timeout: float | None = None) -> None:
        self._process.join(timeout)
        assert self._process.exitcode is not None, "it closed its pipes and did not end"

    def close(self) -> None:
        """Kill what is left of it, let go of the pipes."""
        self.kill()
        self._process.join()
        self.stdout.close()
        self.stderr.close()


def _text(pipe: Connection) -> TextIO:
    with pipe:
        return os.fdopen(os.dup(pipe.fileno()), encoding="utf-8")


def _run(
    main: Callable[[list[str]], int], arguments: list[str], environ: dict[str, str], said: Connection, complained: Connection
) -> None:
    for number, pipe in enumerate((said, complained), start=1):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    os.environ.update(environ)
    raise SystemExit(main(arguments))

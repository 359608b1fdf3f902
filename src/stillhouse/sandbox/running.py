"""One confined process a call: what it is given, how long and how large it may be, and what is said of its end.

A process is not used twice, so that no call can leave anything to the next. It costs some tens of milliseconds, outside this one.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import math
import os
import platform
import selectors
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from pydantic import Field

from stillhouse.errors import StillhouseError
from stillhouse.records import Record
from stillhouse.sandbox import filtering

GUEST = Path(__file__).with_name("guest.py")
PACKAGES = ("rapidfuzz", "numpy")
"""What may be imported besides the standard library, where it is installed."""
PIPE = 4096
"""Bytes that a pipe which can be written to takes without blocking (POSIX's PIPE_BUF on Linux)."""
LONGEST_OUTPUT = 64 * 1024
"""Bytes that a call may write on either stream; past it, it is killed."""

Reason = Literal["raised", "time", "memory", "output", "died"]


class ConfinementError(StillhouseError):
    """Code cannot be confined on this machine, so it does not run."""

    http_status = 501
    code = "sandbox_unavailable"


class CodeError(StillhouseError):
    """Confined code came to no value: it raised, or passed a limit."""

    http_status = 422
    code = "code_failed"

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


class Limits(Record):
    """What one call may use at most."""

    seconds: float = Field(default=10.0, gt=0)
    """By the clock, the start of the process included."""
    cpu_seconds: int = Field(default=10, ge=1)
    memory_bytes: int = Field(default=512 * 2**20, ge=64 * 2**20)
    """Of address space, Python's own included."""
    open_files: int = Field(default=32, ge=8)


class Each(NamedTuple):
    """What a function says about one of many arguments."""

    value: str | None
    problem: str = ""
    """What it raised, or which limit it passed."""


AT_ONCE = 1000
"""Arguments that one process is given."""
HANGS = 3
"""Arguments at which a function may come to its end by force; about the rest it is not asked any more."""


class Sandbox:
    """Runs functions whose source others wrote, each call in a process and a thread of its own: no event loop waits for it."""

    def __init__(self, limits: Limits | None = None, *, at_once: int | None = None) -> None:
        """`at_once`: processes at a time, by default as many as the machine has cores."""
        self.limits = limits or Limits()
        self._turns = ThreadPoolExecutor(at_once or os.cpu_count() or 1, thread_name_prefix="sandbox")

    async def call(self, source: str, function: str, arguments: Sequence[Any]) -> float:
        """The number that `function`, defined by `source`, gives for JSON `arguments`.

        A call that is cancelled ends by itself within its time. Raises ConfinementError, CodeError.
        """
        call = {"source": source, "function": function, "arguments": list(arguments)}
        answer = await asyncio.get_running_loop().run_in_executor(self._turns, self._answer, call)
        if "raised" in answer:
            raise CodeError(answer["raised"], "raised")
        value = answer.get("value")
        if not isinstance(value, float) or not math.isfinite(value):
            raise CodeError(f"{function}() returned {value}, where a finite number is needed", "raised")
        return value

    async def each(self, source: str, function: str, arguments: Sequence[str]) -> list[Each]:
        """What `function` says about every argument, a short text or None: one process for as many as it gets through.

        One that passes a limit takes its process along, and the rest goes on in the next; an argument counts as too long only
        where it had a process, and its whole time, to itself. Raises ConfinementError, and CodeError for a source that does not
        define the function.
        """
        return await asyncio.get_running_loop().run_in_executor(self._turns, self._each, source, function, list(arguments))

    def _each(self, source: str, function: str, arguments: list[str]) -> list[Each]:
        found: list[Each] = []
        hung, problem = 0, ""
        while len(found) < len(arguments) and hung < HANGS:
            left, output = arguments[len(found) : len(found) + AT_ONCE], bytearray()
            try:
                code = self._talk({"source": source, "function": function, "each": left}, output)
                problem = f"its process ended before it had answered ({_name(code)})"
            except CodeError as exc:
                problem = str(exc)
            new = list(_lines_of(bytes(output)))[: len(left)]
            found += new or [Each(None, problem)]
            hung += not new
        return found + [Each(None, f"not asked any more: {problem}")] * (len(arguments) - len(found))

    def _answer(self, call: dict[str, Any]) -> dict[str, Any]:
        output = bytearray()
        return self._read(output, self._talk(call, output))

    def _talk(self, call: dict[str, Any], output: bytearray) -> int:
        """Run one process; what it says is in `output`, also where this raises CodeError. Returns the code it ended with."""
        request = json.dumps({**_surroundings(), "limits": self._resources(), "call": call}).encode()
        process = subprocess.Popen(
            [sys.executable, "-s", "-S", "-P", "-B", str(GUEST)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PYTHONHASHSEED": "0"},  # sets come in the same order every time
            start_new_session=True,
            bufsize=0,
        )
        with process:
            try:
                return _conversation(process, request, self.limits.seconds, output)
            except TimeoutError:
                raise CodeError(f"it took longer than {self.limits.seconds:g} seconds", "time") from None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # the whole group is gone when this returns, whatever happened

    def _read(self, output: bytes | bytearray, code: int) -> dict[str, Any]:
        try:
            answer = json.loads(output)
        except ValueError:
            answer = None
        if isinstance(answer, dict):
            return _confined(answer)
        if code == signal.SIGKILL:
            raise CodeError(f"it computed for longer than {self.limits.cpu_seconds} seconds", "time")
        raise CodeError(f"its process died without an answer ({_name(code)})", "died")

    def _resources(self) -> dict[str, int]:
        return {"CPU": self.limits.cpu_seconds, "AS": self.limits.memory_bytes, "NOFILE": self.limits.open_files}


@lru_cache(maxsize=1)
def _surroundings() -> dict[str, Any]:
    """What the guest is told about this machine. Raises ConfinementError."""
    machine = platform.machine()
    program = filtering.program(machine) if sys.platform == "linux" else None
    if program is None:
        raise ConfinementError(f"Code can be confined on Linux (x86-64, 64-bit ARM) only; this is {sys.platform} on {machine}.")
    column = filtering.MACHINES[machine][0]
    stdlib = str(Path(sysconfig.get_path("stdlib")).resolve())
    packages = _packages()
    return {
        "filter": base64.b64encode(program).decode(),
        "calls": {name: numbers[column] for name, numbers in filtering.OTHERS.items()},
        "shown": [stdlib, *(str(folder) for folder in packages)],
        "hidden": [f"{stdlib}/site-packages", f"{stdlib}/dist-packages"],
        "path": [stdlib, f"{stdlib}/lib-dynload", *sorted({str(folder.parent) for folder in packages})],
    }


def _confined(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer of a process that could be confined. Raises ConfinementError for the others'."""
    if "refused" in answer:
        raise ConfinementError(
            f"Code cannot be confined on this machine ({answer['refused']}), so it is not run. Linux with user namespaces is "
            "needed; containers often forbid them."
        )
    return answer


def _lines_of(output: bytes) -> Iterator[Each]:
    """What was said about each argument, up to the first line that is cut off or says something else.

    Raises ConfinementError, and CodeError where the source could not even begin.
    """
    for line in output.splitlines(keepends=True):
        try:
            answer = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            return
        if "failed" in _confined(answer):
            raise CodeError(str(answer["failed"]), "raised")
        value, problem = answer.get("value"), answer.get("raised")
        yield Each(value if isinstance(value, str) else None, problem if isinstance(problem, str) else "")


def _packages() -> list[Path]:
    """The folders of the packages that may be imported, and of the libraries that come with them."""
    found = []
    for name in PACKAGES:
        spec = find_spec(name)
        for place in (spec.submodule_search_locations or []) if spec is not None else []:
            folder = Path(place).resolve()
            found += [each for each in (folder, folder.with_name(f"{name}.libs")) if each.is_dir()]
    return found


def _conversation(process: subprocess.Popen[bytes], request: bytes, seconds: float, output: bytearray) -> int:
    """The code it ended with; what it answered is in `output`. Raises TimeoutError, and CodeError as soon as it says too much."""
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    deadline = time.monotonic() + seconds
    said = {process.stdout: output, process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdin, selectors.EVENT_WRITE)
        for stream in said:
            selector.register(stream, selectors.EVENT_READ)
        left = memoryview(request)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                if key.fileobj is process.stdin:
                    left = _give(process.stdin, left)
                    over = not left
                else:
                    over = not _take(process.stdout if key.fileobj is process.stdout else process.stderr, said)
                if over:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
    try:
        code = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return code


def _give(stream: IO[bytes], left: memoryview) -> memoryview:
    """What is still to be given; nothing where nobody takes it."""
    try:
        return left[os.write(stream.fileno(), left[:PIPE]) :]
    except BrokenPipeError:
        return left[:0]


def _take(stream: IO[bytes], said: dict[IO[bytes], bytearray]) -> bool:
    """Whether there may be more. Raises CodeError."""
    part = os.read(stream.fileno(), LONGEST_OUTPUT)
    said[stream] += part
    if len(said[stream]) > LONGEST_OUTPUT:
        raise CodeError(f"it wrote more than {LONGEST_OUTPUT} bytes", "output")
    return bool(part)


def _name(code: int) -> str:
    try:
        return signal.Signals(code).name
    except ValueError:
        return f"code {code}"

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
import signal
import sys
import sysconfig
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stillhouse.errors import StillhouseError
from stillhouse.records import Record
from stillhouse.sandbox import filtering

GUEST = Path(__file__).with_name("guest.py")
PACKAGES = ("rapidfuzz", "numpy")
"""What may be imported besides the standard library, where it is installed."""
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


class Sandbox:
    """Runs functions whose source others wrote. Belongs to one event loop."""

    def __init__(self, limits: Limits | None = None, *, at_once: int | None = None) -> None:
        """`at_once`: processes at a time, by default as many as the machine has cores."""
        self.limits = limits or Limits()
        self._turns = asyncio.Semaphore(at_once or os.cpu_count() or 1)

    async def call(self, source: str, function: str, arguments: Sequence[Any]) -> float:
        """The number that `function`, defined by `source`, gives for JSON `arguments`.

        Raises ConfinementError, CodeError.
        """
        async with self._turns:
            answer = await self._answer({"source": source, "function": function, "arguments": list(arguments)})
        if "refused" in answer:
            raise ConfinementError(
                f"Code cannot be confined on this machine ({answer['refused']}), so it is not run. Linux with user namespaces is "
                "needed; containers often forbid them."
            )
        if "raised" in answer:
            raise CodeError(answer["raised"], "raised")
        value = answer.get("value")
        if not isinstance(value, float) or not math.isfinite(value):
            raise CodeError(f"{function}() returned {value}, where a finite number is needed", "raised")
        return value

    async def _answer(self, call: dict[str, Any]) -> dict[str, Any]:
        request = json.dumps({**_surroundings(), "limits": self._resources(), "call": call}).encode()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-s", "-S", "-P", "-B", str(GUEST)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PYTHONHASHSEED": "0"},  # sets come in the same order every time
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self.limits.seconds):
                output, code = await _conversation(process, request)
        except TimeoutError:
            raise CodeError(f"it took longer than {self.limits.seconds:g} seconds", "time") from None
        finally:
            await _end(process)
        return self._read(output, code)

    def _read(self, output: bytes, code: int) -> dict[str, Any]:
        try:
            answer = json.loads(output)
        except ValueError:
            answer = None
        if isinstance(answer, dict):
            return answer
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


def _packages() -> list[Path]:
    """The folders of the packages that may be imported, and of the libraries that come with them."""
    found = []
    for name in PACKAGES:
        spec = find_spec(name)
        for place in (spec.submodule_search_locations or []) if spec is not None else []:
            folder = Path(place).resolve()
            found += [each for each in (folder, folder.with_name(f"{name}.libs")) if each.is_dir()]
    return found


async def _conversation(process: asyncio.subprocess.Process, request: bytes) -> tuple[bytes, int]:
    """What it answered, and the code it ended with. Raises CodeError as soon as it says too much."""
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    output, _, _ = await asyncio.gather(_all_of(process.stdout), _all_of(process.stderr), _give(process.stdin, request))
    return output, await process.wait()


async def _give(stream: asyncio.StreamWriter, request: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(request)
        await stream.drain()
        stream.close()


async def _all_of(stream: asyncio.StreamReader) -> bytes:
    parts, size = [], 0
    while part := await stream.read(LONGEST_OUTPUT):
        parts.append(part)
        size += len(part)
        if size > LONGEST_OUTPUT:
            raise CodeError(f"it wrote more than {LONGEST_OUTPUT} bytes", "output")
    return b"".join(parts)


async def _end(process: asyncio.subprocess.Process) -> None:
    """The whole group is gone when this returns, whatever happened before."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    process._transport.close()  # type: ignore[attr-defined]  # there is no public way, and a pipe left open is a warning


def _name(code: int) -> str:
    try:
        return signal.Signals(code).name
    except ValueError:
        return f"code {code}"

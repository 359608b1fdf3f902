"""A student's child process, seen from outside: the frames that it says and is told, and its end.

The frames themselves are described in `stillhouse.students.worker`; when a child is started, and again, is `student`'s affair.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
from typing import Any

import orjson

HEADER = struct.Struct(">I")


async def read_frame(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """The child's next frame. Raises IncompleteReadError at its end."""
    assert process.stdout is not None
    (length,) = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
    frame: dict[str, Any] = orjson.loads(await process.stdout.readexactly(length))
    return frame


def send_frame(process: asyncio.subprocess.Process, frame: dict[str, Any]) -> None:
    """Buffered; what a dead child does not take is lost, and its death tells everybody who waits."""
    assert process.stdin is not None
    body = orjson.dumps(frame)
    process.stdin.write(HEADER.pack(len(body)) + body)


def kill(process: asyncio.subprocess.Process) -> None:
    """By pid: `process.kill` would reap it under the loop's watcher, which then complains."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill if need be, reap, and close the pipes."""
    if process.returncode is None:
        kill(process)
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()
    with contextlib.suppress(ConnectionError):
        await process.stdin.wait_closed()

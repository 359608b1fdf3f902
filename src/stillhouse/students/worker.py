"""The child process that runs one student: frames in on stdin, frames out on stdout, until stdin ends or the parent dies.

    python -m stillhouse.students.worker FOLDER --batch 16 --parent PID

A frame is four bytes of length (big-endian) and a JSON object. In: {"ask": ticket, "generation": {...}}, {"abort": ticket}.
Out: {"ready": {...}} once, then {"pieces": [[ticket, index, text, ...], ...]} after each step, {"refused": ticket, "code": ...,
"message": ...} for a request that cannot be answered, {"fatal": message} before giving up. Everything else goes to stderr.
Restarting, queueing and HTTP are the parent's affair.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import queue
import signal
import struct
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from stillhouse.artifacts import verify
from stillhouse.errors import StillhouseError, UsageError
from stillhouse.generation import Generation
from stillhouse.students import STUDENTS
from stillhouse.students.engines import ENGINES, Engine

PR_SET_PDEATHSIG = 1
HEADER = struct.Struct(">I")


def main() -> None:
    """Load, then serve until nobody asks any more."""
    options = _options()
    _die_with(options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the parent decides
    out = _claim_stdout()
    try:
        engine, ready = _load(options.folder, options.batch, options.threads)
    except StillhouseError as exc:
        _write(out, {"fatal": str(exc), "code": exc.code})
        sys.exit(1)
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, inbox), daemon=True).start()
    _write(out, {"ready": ready})
    try:
        _serve(engine, inbox, out)
    except BrokenPipeError:
        os._exit(0)  # nobody listens


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stillhouse.students.worker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: OMP_NUM_THREADS, or all cores but one")
    parser.add_argument("--parent", type=int, default=0, help="die when this process is gone")
    return parser.parse_args()


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies; the end of stdin does the same where there is no prctl."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent and os.getppid() != parent:  # it died before the call
            os._exit(1)


def _claim_stdout() -> BinaryIO:
    """The protocol's own descriptor; whatever else is printed goes to stderr from now on."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return out


def _load(folder: Path, batch: int, threads: int) -> tuple[Engine, dict[str, Any]]:
    """Check the files against the manifest, then load them. Raises StillhouseError."""
    artifact = verify(folder)
    kind = STUDENTS.resolve(artifact.kind)
    if artifact.kind != "linear":  # a network
        import torch

        torch.set_num_threads(threads or int(os.environ.get("OMP_NUM_THREADS", 0)) or max(1, _physical_cores() - 1))
    engine: Engine = ENGINES.resolve(artifact.kind)(kind.load(folder), batch=batch)
    return engine, {"kind": artifact.kind, "pid": os.getpid()}


def _physical_cores() -> int:
    """Cores this process may use, hyperthreads counted once where Linux says which they are."""
    usable = os.sched_getaffinity(0) if sys.platform == "linux" else set(range(os.cpu_count() or 1))
    siblings = set()
    for cpu in usable:
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        siblings.add(path.read_text() if path.exists() else str(cpu))
    return max(1, len(siblings))


def _read(stream: BinaryIO, inbox: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Frames from the parent, until it is gone; then this process goes too, in the middle of whatever it does."""
    while (header := stream.read(HEADER.size)) and len(header) == HEADER.size:
        inbox.put(orjson.loads(stream.read(HEADER.unpack(header)[0])))
    os._exit(0)


def _write(out: BinaryIO, frame: dict[str, Any]) -> None:
    body = orjson.dumps(frame)
    view = memoryview(HEADER.pack(len(body)) + body)
    while view:
        view = view[out.write(view) :]


def _serve(engine: Engine, inbox: queue.SimpleQueue[dict[str, Any]], out: BinaryIO) -> None:
    while True:
        if not engine.busy:
            _take(engine, inbox.get(), out)
        while not inbox.empty():
            _take(engine, inbox.get(), out)
        pieces = engine.step()
        if pieces:
            _write(out, {"pieces": [tuple(piece) for piece in pieces]})  # orjson takes no named tuples


def _take(engine: Engine, frame: dict[str, Any], out: BinaryIO) -> None:
    if "abort" in frame:
        engine.abort(frame["abort"])
        return
    ticket = frame["ask"]
    try:
        engine.submit(ticket, Generation.model_validate(frame["generation"]))
    except UsageError as exc:
        _write(out, {"refused": ticket, "code": exc.code, "message": str(exc)})
    except Exception:  # one request must not end the others; the parent is told, the log has the rest
        traceback.print_exc()
        _write(out, {"refused": ticket, "code": "internal_error", "message": "The student failed on this request."})


if __name__ == "__main__":
    main()

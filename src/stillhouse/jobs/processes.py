"""Is the process that claimed a run still the one that lives under its pid?

A pid alone does not say: pids are used again, and mean nothing after a reboot or on another machine. So a run keeps the boot's
id and the process's start time beside it (`Run.boot`). Nothing here sends a signal.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

State = Literal["alive", "gone", "elsewhere"]
"""`elsewhere`: another machine or an earlier boot; only its heartbeat can tell."""


def identity(pid: int) -> str | None:
    """`BOOT/START` of a live process; None when there is none (a zombie counts as none, once its last thread has ended)."""
    start = _start_time(pid)
    return None if start is None else f"{_boot_id()}/{start}"


def ended() -> str:
    """The identity of a process of this boot that is gone already."""
    return f"{_boot_id()}/ended"


def state_of(pid: int, boot: str) -> State:
    """What has become of the process that had this pid and identity."""
    if boot.partition("/")[0] != _boot_id():
        return "elsewhere"
    return "alive" if identity(pid) == boot else "gone"


def _boot_id() -> str:
    if sys.platform == "linux":
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return (_ps(1, "lstart") or "unknown").replace(" ", "-")


def _start_time(pid: int) -> str | None:
    if sys.platform != "linux":
        status = _ps(pid, "stat")
        return None if status is None or status.startswith("Z") else _ps(pid, "lstart")
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name in parentheses may hold spaces; state, threads, start time follow it
    others = int(fields[17]) > 1  # of a process that was killed, too: until the last has ended, its locks are held
    return None if fields[0] in {"Z", "X"} and not others else fields[19]


def _ps(pid: int, field: str) -> str | None:
    result = subprocess.run(
        ["ps", "-o", f"{field}=", "-p", str(pid)], capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    return result.stdout.strip() or None

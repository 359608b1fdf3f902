"""Processes, looked at from outside."""

from __future__ import annotations

from pathlib import Path


def gone(pid: int) -> bool:
    """Whether the process has ended (a zombie that nobody has reaped has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True

"""A run: long work in a process of its own, whose row in the store is a durable job's (lease, heartbeat, state)."""

from __future__ import annotations

from typing import Any, Literal

from stillhouse.records import Record

RunState = Literal["queued", "running", "stopping", "succeeded", "failed", "stopped", "interrupted"]
"""`interrupted`: its process died without saying how it ended. Success is never inferred."""

LEASE_SECONDS = 30.0
"""A running run whose lease is older and whose process is gone is interrupted."""


class Run(Record):
    id: str
    kind: Literal["train", "eval", "label"]
    name: str
    state: RunState
    created: int
    spec: dict[str, Any]
    """What to do: for training, the recipe, the dataset's fingerprint and the folder."""
    pid: int | None = None
    boot: str | None = None
    """Boot id and start time of the process: a recycled pid is not mistaken for it."""
    epoch: int = 0
    """Grows with every claim; a writer with an older one is refused (fencing)."""
    heartbeat: float | None = None
    """Seconds since the epoch."""
    started: int | None = None
    finished: int | None = None
    step: int = 0
    steps: int | None = None
    error: str | None = None
    result: dict[str, Any] = {}
    """E.g. {"artifact": "student-..."}."""


class RunEvent(Record):
    """Something a run said. `metrics` are numbers by name, e.g. {"train/loss": 1.2}; `step` is the optimizer's."""

    run: str
    seq: int
    """Grows by one within a run; writing the same one twice changes nothing."""
    time: float
    level: Literal["info", "warn", "error"] = "info"
    message: str = ""
    step: int | None = None
    metrics: dict[str, float] = {}

"""A run: long work in a process of its own, whose row in the store is a durable job's (lease, heartbeat, state)."""

from __future__ import annotations

from typing import Any, Literal

from stillhouse.records import Record

RunState = Literal[
    "queued", "running", "pausing", "cancelling", "paused", "stopped", "interrupted", "succeeded", "failed", "cancelled"
]
"""`paused`: stopped because somebody asked, until somebody asks again. `stopped`: its process was told to end (SIGTERM) and did.
`interrupted`: its process died without saying how it ended. Success is never inferred."""

OPEN_STATES: frozenset[RunState] = frozenset({"queued", "running", "pausing", "cancelling"})
WORKING_STATES: frozenset[RunState] = frozenset({"running", "pausing", "cancelling"})
"""A process has claimed it."""
REVIVED_STATES: frozenset[RunState] = frozenset({"stopped", "interrupted"})
"""Nobody asked for these: a server starts such a run again by itself."""
RESUMABLE_STATES: frozenset[RunState] = frozenset({"paused", "stopped", "interrupted", "failed"})
FINAL_STATES: frozenset[RunState] = frozenset({"succeeded", "failed", "cancelled"})
"""Nothing more comes of it by itself: said once to whoever listens. A failed one may be resumed by hand."""

LEASE_SECONDS = 30.0
"""A running run whose lease is older and whose process is gone is interrupted."""


def ended_as(state: RunState, said: RunState) -> RunState:
    """What a run in `state` is after an end of which its worker, or whoever found it dead, says `said`."""
    if said in ("stopped", "interrupted"):
        asked: dict[RunState, RunState] = {"pausing": "paused", "cancelling": "cancelled"}
        return asked.get(state, said)
    return said


class Run(Record):
    id: str
    kind: str
    """A key of `stillhouse.jobs.WORKS`, which says what does it."""
    name: str
    state: RunState
    created: int
    spec: dict[str, Any]
    """What to do: for training, the recipe, the dataset's fingerprint and the folder."""
    priority: int = 0
    """Higher ones are started first; those of one priority by age."""
    resource: str = "cpu"
    """What it takes while it runs; settings say how many of each may run at once (`jobs_cpu`, `jobs_gpu`, `jobs_network`)."""
    ref: str | None = None
    """The API's object that it works for: a fine-tuning job, an eval run, a batch."""
    attempts: int = 0
    """Starts in a row after which it did not get further."""
    max_attempts: int = 5
    """After so many, a run whose process dies is failed rather than started again."""
    announced: bool = False
    """Whoever wants to know how runs end has heard of this end."""
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

"""The queue: what may be done with a run from outside. Rows of the store, changed only from the state they were read in.

`submit` and `resume` leave a run `queued`. A live server starts it in its turn (`dispatching.py`); where there is none, `begin`
starts it from here. The row is written before a process starts, so a crash in between leaves a run that waits, not a process that
nobody knows of.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from stillhouse.errors import ConflictError, NotFoundError, StoreError, UsageError
from stillhouse.ids import new_id
from stillhouse.jobs import WORKS
from stillhouse.jobs.executors import EXECUTORS
from stillhouse.jobs.executors.base import Executor
from stillhouse.jobs.watch import settle
from stillhouse.run import FINAL_STATES, RESUMABLE_STATES, WORKING_STATES, Run, RunState
from stillhouse.settings import RESOURCES, Settings
from stillhouse.stores.base import RunStore
from stillhouse.stores.lock import server_is_live

_CANCELLED: Mapping[RunState, RunState] = {
    "queued": "cancelled",
    "running": "cancelling",
    "pausing": "cancelling",
    "cancelling": "cancelling",
    "paused": "cancelled",
    "stopped": "cancelled",
    "interrupted": "cancelled",
    "cancelled": "cancelled",
}
_PAUSED: Mapping[RunState, RunState] = {
    "queued": "paused",
    "running": "pausing",
    "pausing": "pausing",
    "paused": "paused",
    "stopped": "paused",
    "interrupted": "paused",
}
_QUEUED: tuple[RunState, ...] = ("queued",)


def planned(kind: str, name: str, spec: dict[str, Any], *, resource: str = "cpu", steps: int | None = None) -> Run:
    """A run that is to be done, not yet kept by anybody."""
    now = time.time()
    asked: dict[str, Any] = {"kind": kind, "name": name, "spec": spec, "resource": resource, "steps": steps}
    return Run(id=new_id("run"), state="queued", created=int(now), heartbeat=now, **asked)


def submit(store: RunStore, settings: Settings, run: Run) -> Run:
    """Keep a new run, `queued`. Raises UsageError for a kind that nobody does and a resource that nobody counts."""
    if run.kind not in WORKS.names():
        raise UsageError(f"There is no kind of run '{run.kind}'. There are: {', '.join(WORKS.names())}.")
    if run.resource not in RESOURCES:
        raise UsageError(f"Run {run.id} takes '{run.resource}', which is no resource. There are: {', '.join(RESOURCES)}.")
    store.put_run(run).result()
    return run


def cancel(store: RunStore, settings: Settings, run: Run) -> Run:
    """End it for good, without a result; a worker hears of it at once or after its current step.

    Returns the run as it stands then. Raises ConflictError when it has ended otherwise.
    """
    return _ask(store, settings, run.id, _CANCELLED, "cancelled")


def pause(store: RunStore, settings: Settings, run: Run) -> Run:
    """Stop it after its current step, its checkpoint kept, until `resume`. Raises ConflictError when it has ended."""
    return _ask(store, settings, run.id, _PAUSED, "paused")


def resume(store: RunStore, settings: Settings, run: Run) -> Run:
    """Queue a run again that was paused, stopped, interrupted or failed; it goes on from what it left.

    One that is queued already is left as it is. Raises ConflictError for any other.
    """
    while (current := find_run(store, run.id)).state != "queued":
        if current.state not in RESUMABLE_STATES:
            raise ConflictError(
                f"Run {run.id} is {current.state}; only a paused, stopped, interrupted or failed run can be resumed."
            )
        again: dict[str, object] = {"state": "queued", "heartbeat": time.time(), "attempts": 0, "announced": False}
        fresh: dict[str, object] = {"error": None, "finished": None, "pid": None, "boot": None}
        store.update_run(run.id, current.epoch, {**again, **fresh}, only=RESUMABLE_STATES).result()
    return current


def prioritise(store: RunStore, run: Run, priority: int) -> Run:
    """Set its place in the queue: higher ones first. Raises ConflictError when it has ended."""
    while (current := find_run(store, run.id)).priority != priority:
        if current.state in FINAL_STATES:
            raise ConflictError(f"Run {run.id} has ended already: it is {current.state}.")
        store.update_run(run.id, current.epoch, {"priority": priority}).result()
    return current


def begin(store: RunStore, settings: Settings, run: Run) -> bool:
    """See that a queued run is started: True where that was done from here, False where a live server does it in its turn."""
    if server_is_live(settings.data_dir):
        return False
    return start(store, executor_of(settings), run)


def start(store: RunStore, executor: Executor, run: Run) -> bool:
    """Start a worker for a queued run; False where it is queued no more. If another worker has the run, this one ends by itself.

    Raises StoreError.
    """
    starting: dict[str, object] = {"attempts": run.attempts + 1, "heartbeat": time.time(), "pid": None, "boot": None}
    if not store.update_run(run.id, run.epoch, starting, only=_QUEUED).result():
        return False
    try:
        worker = executor.start(run)
    except StoreError as exc:
        unstarted: dict[str, object] = {"state": "interrupted", "finished": int(time.time()), "error": str(exc)}
        store.update_run(run.id, run.epoch, unstarted, only=_QUEUED).result()
        raise
    # Refused, rightly, once the worker has claimed the run itself.
    store.update_run(run.id, run.epoch, worker._asdict(), only=_QUEUED).result()
    return True


def executor_of(settings: Settings) -> Executor:
    """The executor that the settings name. Raises UsageError."""
    executor: Executor = EXECUTORS.resolve(settings.jobs_executor)(settings)
    return executor


def find_run(store: RunStore, run_id: str) -> Run:
    """Raises NotFoundError."""
    run = store.run(run_id)
    if run is None:
        raise NotFoundError(f"There is no run '{run_id}'. See what there is with: stillhouse jobs list")
    return run


def list_runs(
    store: RunStore, settings: Settings, *, kind: str | None = None, states: Sequence[str] = (), limit: int = 100
) -> list[Run]:
    """Newest first, of one kind and in some of the states if any are named, the dead settled. Raises UsageError."""
    known: tuple[RunState, ...] = get_args(RunState)
    unknown = [state for state in states if state not in known]
    if unknown:
        raise UsageError(f"There is no state '{unknown[0]}'. There are: {', '.join(known)}.")
    for run in store.unannounced_runs():
        settle(store, run, settings.runs)
    return store.runs(kind, limit, states=[state for state in known if state in states] or None)


def _ask(store: RunStore, settings: Settings, run_id: str, answers: Mapping[RunState, RunState], what: str) -> Run:
    """Take the run from whatever state it is in to the one that `answers` says; its worker, if it has one, is told."""
    while True:
        run = settle(store, find_run(store, run_id), settings.runs)
        state = answers.get(run.state)
        if state is None:
            raise ConflictError(f"Run {run_id} cannot be {what}: it is {run.state}.")
        if state == run.state:
            return run
        changes: dict[str, object] = {"state": state, **({} if state in WORKING_STATES else {"finished": int(time.time())})}
        if store.update_run(run_id, run.epoch, changes, only=(run.state,)).result():
            break
    if state in WORKING_STATES:
        executor_of(settings).hurry(run)
    return find_run(store, run_id)

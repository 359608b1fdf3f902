"""Who says that a run was interrupted: whoever looks and finds its process gone.

A worker that dies cannot say so itself, and a server that was down cannot have seen it. So every reader settles what it reads
(`train list`, the server's start): a process that is gone and left no word makes its run `interrupted`; events and a word that it
left in its folder and could not bring to the store are brought there now. Success is only ever what a worker said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from stillhouse.errors import NotFoundError
from stillhouse.jobs import processes
from stillhouse.jobs.claim import BATCH
from stillhouse.jobs.journal import EVENTS, read_events, read_status
from stillhouse.run import LEASE_SECONDS, OPEN_STATES, REVIVED_STATES, WORKING_STATES, Run, RunEvent, ended_as
from stillhouse.settings import Settings
from stillhouse.stores.base import RunStore
from stillhouse.stores.lock import server_is_live

LOOK_SECONDS = 0.3


def settle_all(store: RunStore, runs_folder: Path, kind: str | None = None) -> list[Run]:
    """Every run, newest first, with the states of dead ones settled."""
    return [settle(store, run, runs_folder) for run in store.runs(kind)]


def settle(store: RunStore, run: Run, runs_folder: Path) -> Run:
    """`run` as it stands; if its process is gone, with its end written to the store first."""
    if run.state not in OPEN_STATES or not is_gone(run):
        return run
    current = store.run(run.id)  # again: the process may have written its end between the reading and its death
    if current is None or current.epoch != run.epoch or current.state not in OPEN_STATES:
        return current or run
    folder = runs_folder / run.id
    said = _bring_events(store, current, folder)
    store.update_run(run.id, run.epoch, {**said, **_ending(current, folder)}, only=(current.state,)).result()
    return store.run(run.id) or current


def is_gone(run: Run, now: float | None = None) -> bool:
    """Whether nobody works on an open run any more: by its process where that can be seen, else by its heartbeat."""
    now = time.time() if now is None else now
    if run.pid is None or run.boot is None:
        return False  # it waits for its turn
    state = processes.state_of(run.pid, run.boot)
    if state == "elsewhere":
        return now - (run.heartbeat or run.created) > LEASE_SECONDS
    return state == "gone"


def _bring_events(store: RunStore, run: Run, folder: Path) -> dict[str, object]:
    """What the worker said and the store has not heard: to the store, and how far it came. Before the end is told."""
    try:
        events = read_events(folder / EVENTS)
    except ValidationError:
        return {}  # a damaged file is no reason to leave the run open
    for first in range(0, len(events), BATCH):
        store.add_events(events[first : first + BATCH], run.epoch).result()
    step = max((event.step for event in events if event.step is not None), default=0)
    return {"step": step} if step > run.step else {}


def _ending(run: Run, folder: Path) -> dict[str, object]:
    said = read_status(folder, run.epoch) if run.state in WORKING_STATES else None
    if said is not None:
        state = ended_as(run.state, said.state)
        return {"state": state, "finished": said.finished, "error": said.error, "result": dict(said.result)}
    error = f"Its process ({run.pid}) ended without a word at step {run.step}. What it printed: stillhouse jobs logs {run.id}"
    return {"state": ended_as(run.state, "interrupted"), "finished": int(time.time()), "error": error}


def follow(
    open_store: Callable[[], RunStore], run_id: str, settings: Settings, *, after: int = -1
) -> Iterator[tuple[Run, list[RunEvent]]]:
    """The run and what it said since the last look, again and again until it has ended; the last item is the end.

    A run that died is not at its end while there is a server that starts it again.
    Raises NotFoundError. Asks the store a few times a second: a reader needs neither the worker nor the server.
    """
    while True:
        store = open_store()
        run = store.run(run_id)
        if run is None:
            raise NotFoundError(f"There is no run '{run_id}'. See what there is with: stillhouse jobs list")
        run = settle(store, run, settings.runs)
        while events := store.events(run_id, after=after):
            yield run, events
            after = events[-1].seq
        yield run, []
        if run.state not in OPEN_STATES and not (run.state in REVIVED_STATES and server_is_live(settings.data_dir)):
            return
        time.sleep(LOOK_SECONDS)

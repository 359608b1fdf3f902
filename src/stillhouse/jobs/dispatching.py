"""The server's part in the queue: it starts what waits, starts again what died, and says once what has ended.

It remembers nothing that matters. Each look reads every run that is not done with from the store and does what is due, so a
server that was killed is replaced by one that looks: workers that live on are found by their rows, those that died are started
again. A look follows every change of a run and every death of a worker; in between nothing is asked.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from stillhouse.errors import StillhouseError, StoreError
from stillhouse.jobs.executors.base import Executor
from stillhouse.jobs.queue import executor_of, start
from stillhouse.jobs.watch import settle
from stillhouse.run import FINAL_STATES, OPEN_STATES, REVIVED_STATES, WORKING_STATES, Run
from stillhouse.settings import RESOURCES, Settings
from stillhouse.stores.base import RunStore

log = logging.getLogger(__name__)

Observer = Callable[[Run], Awaitable[None]]
"""Hears of a run that has succeeded, failed or been cancelled, at least once: a crash between its return and the mark has it
called again, with the same `run.id` and `run.epoch`. So what it does is keyed by those two, and then takes effect once."""

LOOK_SECONDS = 30.0
"""Between two looks when nothing is heard: for workers on machines whose processes cannot be seen, and observers that raised."""
TROUBLE_SECONDS = 1.0
"""After a look that the store did not allow."""
CANCEL_SECONDS = 30.0
"""How long a cancelled run's worker may take to listen; nothing of it is wanted, so after that it is killed."""
OBSERVE_SECONDS = 10.0
"""An observer notes what is to be done and returns; one that takes longer is called again at a later look."""
LONGEST_WAIT_SECONDS = 60.0


@dataclass
class _Look:
    """What one look found."""

    ended: list[Run]
    next: float
    """Seconds until something is due that no event will tell of."""


class Dispatcher:
    """One of it to a store: the server's, which holds the lock."""

    def __init__(
        self, store: RunStore, settings: Settings, *, executor: Executor | None = None, observers: Sequence[Observer] = ()
    ) -> None:
        self._store = store
        self._settings = settings
        self._executor = executor or executor_of(settings)
        self._observers = tuple(observers)
        self._limits = {resource: int(getattr(settings, f"jobs_{resource}")) for resource in RESOURCES}
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self._watched: set[tuple[int, str]] = set()
        self._cancelling: dict[str, float] = {}

    async def run(self) -> None:
        """Until `stop`. Never raises for what a run, a store or an observer does."""
        self._loop = asyncio.get_running_loop()
        self._store.when_runs_change(self.wake)
        while not self._stopping:
            self._woken.clear()
            try:
                found = await asyncio.to_thread(self._look)
            except Exception as exc:  # a queue that has ended without a word would be worse than any of them
                log.warning("The queue cannot be looked at: %s", exc, exc_info=not isinstance(exc, StillhouseError))
                found = _Look([], TROUBLE_SECONDS)
            for run in found.ended:
                await self._announce(run)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), found.next)

    def stop(self) -> None:
        """End `run` after the look that is under way. Workers go on."""
        self._stopping = True
        self._woken.set()

    def wake(self) -> None:
        """Have a look soon. From any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: the server has ended
                self._loop.call_soon_threadsafe(self._woken.set)

    def _look(self) -> _Look:
        """Settle the dead, start what may run, in a thread of its own: the store is read and written to here."""
        now = time.time()
        look = _Look([], LOOK_SECONDS)
        runs = [settle(self._store, run, self._settings.runs) for run in self._store.unannounced_runs()]
        for run in runs:
            if run.state in FINAL_STATES and not run.announced:
                look.ended.append(run)
            elif run.state in REVIVED_STATES:
                look.next = min(look.next, self._revive(run, now))
            elif run.state == "cancelling":
                look.next = min(look.next, self._insist(run))
        for run in [*runs, *self._start(runs)]:
            self._watch(run)
        return look

    def _revive(self, run: Run, now: float) -> float:
        """Queue a run again whose worker died, or give it up; seconds until that is due where it is not yet."""
        if run.attempts >= run.max_attempts:
            error = f"{run.error or 'Its process was told to end.'} It was started {run.attempts} times without getting further."
            self._store.update_run(run.id, run.epoch, {"state": "failed", "error": error}, only=REVIVED_STATES).result()
            return LOOK_SECONDS
        due = (run.finished or 0) + backoff(run.attempts)
        if due > now:
            return due - now
        again: dict[str, object] = {"state": "queued", "pid": None, "boot": None, "finished": None, "error": None}
        self._store.update_run(run.id, run.epoch, again, only=REVIVED_STATES).result()
        return LOOK_SECONDS  # the change wakes: the next look starts it

    def _insist(self, run: Run) -> float:
        """Kill a cancelled run's worker that does not listen; seconds until that is due."""
        left = self._cancelling.setdefault(run.id, time.monotonic() + CANCEL_SECONDS) - time.monotonic()
        if left <= 0:
            self._executor.kill(run)
            return TROUBLE_SECONDS
        return left

    def _start(self, runs: Sequence[Run]) -> list[Run]:
        """As many queued runs as their resources have room for, by priority, then age; returns those, with their workers."""
        started: list[str] = []
        taken = Counter(run.resource for run in runs if run.state in WORKING_STATES or _is_starting(run))
        waiting = [run for run in runs if run.state == "queued" and not _is_starting(run)]
        for run in sorted(waiting, key=_turn):
            if taken[run.resource] < self._limits.get(run.resource, 1):
                taken[run.resource] += 1
                try:
                    start(self._store, self._executor, run)
                    started.append(run.id)
                except StoreError as exc:
                    log.warning("%s", exc)
        return [run for run in map(self._store.run, started) if run is not None]

    def _watch(self, run: Run) -> None:
        """See that the end of its worker, if it has one that can be seen from here, is a reason to look."""
        if run.pid is None or run.boot is None or run.state not in OPEN_STATES or (run.pid, run.boot) in self._watched:
            return
        self._watched.add((run.pid, run.boot))
        threading.Thread(target=self._wait, args=(run,), name=f"wait {run.id}", daemon=True).start()

    def _wait(self, run: Run) -> None:
        if self._executor.wait(run):
            self.wake()

    async def _announce(self, run: Run) -> None:
        """Tell every observer, then mark the run; if one raises, all hear of it again at a later look."""
        self._cancelling.pop(run.id, None)
        try:
            for observer in self._observers:
                async with asyncio.timeout(OBSERVE_SECONDS):
                    await observer(run)
            await asyncio.wrap_future(self._store.update_run(run.id, run.epoch, {"announced": True}, only=(run.state,)))
        except Exception:  # an observer's fault must not end the queue
            log.exception("Nobody could be told that run %s is %s", run.id, run.state)


def backoff(attempts: int) -> float:
    """Seconds to wait before the next start, after so many in a row that did not get further: 0, 1, 2, 4, ..."""
    return 0.0 if attempts == 0 else min(2.0 ** (attempts - 1), LONGEST_WAIT_SECONDS)


def _turn(run: Run) -> tuple[int, int, str]:
    """By priority, then age: ids are UUIDv7 behind a prefix that says what they are of."""
    return -run.priority, run.created, run.id.rpartition("-")[2]


def _is_starting(run: Run) -> bool:
    """Queued, and its worker is on its way to claim it."""
    return run.state == "queued" and run.pid is not None

"""A worker's hold on its run: the epoch it claimed, the heartbeat, the events on their way to the store.

The store may be away (its server restarts, somebody else has the lock): then events wait in the journal and the next beat tries
again. A store that refuses the epoch means that somebody else has the run now: this worker must stop and publish nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from types import TracebackType
from typing import TypeVar

from stillhouse.errors import ConflictError, StillhouseError, StoreError
from stillhouse.jobs.journal import Journal
from stillhouse.run import WORKING_STATES, RunState, ended_as
from stillhouse.stores.base import Store

T = TypeVar("T")

BEAT_SECONDS = 1.0
ANSWER_SECONDS = 10.0
"""How long one write may take before the store counts as away."""
BATCH = 500
"""Events a write."""


class FencedError(StillhouseError):
    """Another worker has claimed the run since; nothing more of this one is written."""


class Claim:
    """Use as a context manager: beats in a thread of its own from enter to exit."""

    def __init__(self, run_id: str, epoch: int, journal: Journal, open_store: Callable[[], Store], *, step: int = 0) -> None:
        self.run_id = run_id
        self.epoch = epoch
        self.journal = journal
        self.stop_requested = threading.Event()
        self._told: list[Callable[[], object]] = []
        self._step = step
        self.fenced = threading.Event()
        self._open_store = open_store
        self._store: Store | None = None
        self._one_at_a_time = threading.Lock()
        self._progress: dict[str, object] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat {run_id}", daemon=True)

    def __enter__(self) -> Claim:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        self._drop_store()

    @property
    def should_stop(self) -> bool:
        """Somebody asked it to stop, or took the run away."""
        return self.stop_requested.is_set() or self.fenced.is_set()

    def request_stop(self) -> None:
        """From the store, or a signal's handler."""
        self.stop_requested.set()
        self._tell()

    def when_told(self, callback: Callable[[], object]) -> None:
        """Call it, from any thread, as soon as `should_stop`; at once if that is so already. It may be called twice."""
        self._told.append(callback)
        if self.should_stop:
            callback()

    def progress(self, step: int, steps: int | None) -> None:
        """Where the run is; sent with the next beat. One that gets further has its attempts counted anew."""
        further: dict[str, object] = {"attempts": 0} if step > self._step else {}
        self._progress = {"step": step, "steps": steps, **further}

    def insist(self, write: Callable[[Store], T], seconds: float) -> T:
        """`write`, again and again until the store takes it. Raises StoreError after `seconds`, FencedError at once."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self._attempt(write)
            except StoreError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(BEAT_SECONDS)

    def flush(self, store: Store) -> None:
        """Send what the store has not got, then say that we live. Raises FencedError, StoreError."""
        unsent = self.journal.unsent()  # what comes meanwhile waits: a talkative work must not keep us from the look below
        for first in range(0, len(unsent), BATCH):
            events = unsent[first : first + BATCH]
            self._allowed(answer(store.add_events(events, self.epoch)))
            self.journal.sent(events)
        self._allowed(answer(store.update_run(self.run_id, self.epoch, {**self._progress, "heartbeat": time.time()})))
        run = store.run(self.run_id)
        if run is not None and run.state in ("pausing", "cancelling"):
            self.request_stop()

    def end(self, store: Store, said: RunState, changes: dict[str, object]) -> None:
        """The last flush and the run's end, of which the work says `said`. Raises FencedError, StoreError."""
        self.flush(store)
        while True:
            run = store.run(self.run_id)
            if run is not None and run.epoch == self.epoch and run.state in _ends(said):
                return  # written before, and the answer got lost
            mine = run is not None and run.epoch == self.epoch and run.state in (*WORKING_STATES, "interrupted")
            self._allowed(mine)
            assert run is not None
            ending = {**changes, "state": ended_as(run.state, said)}
            if answer(store.update_run(self.run_id, self.epoch, ending, only=(run.state,))):
                return  # else somebody has asked something of it meanwhile

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            try:
                self._attempt(self.flush)
            except FencedError:
                return
            except StoreError:
                continue  # it is away; the journal holds what it misses

    def _attempt(self, write: Callable[[Store], T]) -> T:
        with self._one_at_a_time:
            try:
                if self._store is None:
                    self._store = self._open_store()
                return write(self._store)
            except (OSError, StoreError, FutureTimeoutError) as exc:
                self._drop_store()
                raise StoreError(f"The store is away: {exc}") from exc

    def _tell(self) -> None:
        for callback in list(self._told):
            callback()

    def _drop_store(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _allowed(self, accepted: bool) -> None:
        if not accepted:
            self.fenced.set()
            self._tell()
            raise FencedError(f"Run {self.run_id} was claimed by another worker after this one (epoch {self.epoch}).")


def _ends(said: RunState) -> set[RunState]:
    """What may have become of a run whose work says `said`."""
    return {ended_as(state, said) for state in WORKING_STATES}


def answer(future: Future[T]) -> T:
    """The write's outcome, waited for no longer than the store may take."""
    return future.result(timeout=ANSWER_SECONDS)


def claim_run(store: Store, run_id: str, pid: int, boot: str) -> int:
    """The epoch of a new claim. Raises ConflictError when somebody else has the run."""
    epoch = answer(store.claim_run(run_id, pid=pid, boot=boot))
    if epoch is None:
        raise ConflictError(f"Run {run_id} is not to be had: another worker has it, or it is queued no more.")
    return epoch

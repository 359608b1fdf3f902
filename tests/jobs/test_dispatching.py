"""The queue of a server: order and limits, the dead brought back, every end told once. Woken by events alone, not by time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stillhouse.errors import StoreError
from stillhouse.jobs import dispatching, processes, queue
from stillhouse.jobs.dispatching import Dispatcher, Observer, backoff
from stillhouse.jobs.executors.base import Executor, Started
from stillhouse.run import Run
from tests.fakes.server import LiveServer
from tests.jobs.conftest import Bench, until


class Hand:
    """An executor without processes: the test is every worker."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.refuses = False

    def start(self, run: Run) -> Started:
        if self.refuses:
            raise StoreError("No process can be had.")
        self.started.append(run.id)
        return Started(os.getpid(), processes.identity(os.getpid()) or "")

    def hurry(self, run: Run) -> None:
        pass

    def kill(self, run: Run) -> None:
        pass

    def wait(self, run: Run) -> bool:
        return False


@pytest.fixture(autouse=True)
def only_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatching, "LOOK_SECONDS", 3600.0)


@asynccontextmanager
async def dispatched(bench: Bench, executor: Executor | None = None, *observers: Observer) -> AsyncIterator[Dispatcher]:
    dispatcher = Dispatcher(bench.store, bench.settings, executor=executor, observers=observers)
    task = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        dispatcher.stop()
        await task


async def soon(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(until, condition, lambda: "the dispatcher")


def submit(bench: Bench, kind: str = "count", *, priority: int = 0, resource: str = "cpu", **spec: object) -> Run:
    given = {"kind": kind, "priority": priority, "resource": resource, "spec": spec}
    return queue.submit(bench.store, bench.settings, bench.new_run().model_copy(update=given))


def finish(bench: Bench, run_id: str, state: str = "succeeded") -> None:
    epoch = bench.store.claim_run(run_id, pid=os.getpid(), boot=processes.identity(os.getpid()) or "").result()
    assert epoch is not None
    bench.store.update_run(run_id, epoch, {"state": state, "pid": None, "boot": None, "finished": 1}).result()


def state_of(bench: Bench, run: Run) -> str:
    found = bench.store.run(run.id)
    assert found is not None
    return found.state


async def test_by_priority_then_age_within_what_each_resource_has_room_for(bench: Bench) -> None:
    bench.settings = bench.settings.model_copy(update={"jobs_cpu": 2, "jobs_network": 1})
    first, urgent, second, last = (submit(bench, priority=priority).id for priority in (0, 5, 0, -1))
    asking, waiting = (submit(bench, resource="network").id for _ in range(2))
    hand = Hand()
    async with dispatched(bench, hand):
        await soon(lambda: len(hand.started) == 3)
        assert hand.started == [urgent, first, asking]
        finish(bench, urgent)
        await soon(lambda: len(hand.started) == 4)
        late = submit(bench, priority=1).id
        queue.prioritise(bench.store, queue.find_run(bench.store, last), 2)
        finish(bench, first)
        finish(bench, asking)
        await soon(lambda: len(hand.started) == 6)
        assert hand.started[3] == second
        assert sorted(hand.started[4:]) == sorted([last, waiting])
        finish(bench, second)
        await soon(lambda: hand.started[6:] == [late])


async def test_a_run_that_is_submitted_is_started_at_once(bench: Bench) -> None:
    hand = Hand()
    async with dispatched(bench, hand) as dispatcher:
        await asyncio.to_thread(dispatcher._look)  # nothing waits
        run = submit(bench)
        await soon(lambda: hand.started == [run.id])


async def test_what_was_started_before_the_server_takes_its_room(bench: Bench) -> None:
    begun = bench.start_kind("count", steps=4, allowed=str(bench.allowed))
    bench.until_state(begun, "running")
    waiting = submit(bench, steps=1)
    async with dispatched(bench):
        await soon(lambda: state_of(bench, begun) == "running")
        assert state_of(bench, waiting) == "queued"
        bench.allow(4)
        await soon(lambda: state_of(bench, waiting) == "succeeded")
    assert state_of(bench, begun) == "succeeded"


async def test_a_killed_worker_s_run_goes_on_by_itself(bench: Bench) -> None:
    bench.allow(3)
    run = submit(bench, steps=6, allowed=str(bench.allowed))
    async with dispatched(bench):
        await asyncio.to_thread(bench.until_step, run, 3)
        await asyncio.to_thread(bench.kill, run)
        bench.allow(6)
        await soon(lambda: state_of(bench, run) == "succeeded")
    assert bench.trace(run) == [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (2, 6)]
    found = bench.look(run)
    assert (found.result, found.epoch, found.attempts, found.error) == ({"sum": 21}, 2, 0, None)


async def test_a_run_that_only_dies_is_given_up(bench: Bench) -> None:
    run = bench.new_run().model_copy(update={"kind": "die", "max_attempts": 2})
    queue.submit(bench.store, bench.settings, run)
    async with dispatched(bench):
        await soon(lambda: state_of(bench, run) == "failed")
    found = bench.look(run)
    assert "2 times without getting further" in (found.error or "")
    assert (found.epoch, found.attempts) == (2, 2)


async def test_a_worker_that_cannot_be_started_is_tried_again_and_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    hand = Hand()
    hand.refuses = True
    run = submit(bench)
    async with dispatched(bench, hand):
        await soon(lambda: state_of(bench, run) == "interrupted")
        found = bench.store.run(run.id)
        assert found is not None and found.error == "No process can be had."
        hand.refuses = False
        await soon(lambda: hand.started == [run.id])


async def test_what_was_paused_stays_so(bench: Bench) -> None:
    run = submit(bench, steps=2)
    queue.pause(bench.store, bench.settings, run)
    hand = Hand()
    async with dispatched(bench, hand):
        other = submit(bench, steps=1)
        await soon(lambda: hand.started == [other.id])
        finish(bench, other.id)
        queue.resume(bench.store, bench.settings, run)
        await soon(lambda: hand.started == [other.id, run.id])


async def test_a_cancelled_worker_that_does_not_listen_is_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatching, "CANCEL_SECONDS", 0.1)
    run = submit(bench, "deaf")
    async with dispatched(bench):
        await asyncio.to_thread(bench.until_step, run, 1)
        assert queue.cancel(bench.store, bench.settings, run).state == "cancelling"
        await soon(lambda: state_of(bench, run) == "cancelled")


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
async def test_every_end_is_told_and_marked(bench: Bench, state: str) -> None:
    heard: list[tuple[str, str, int]] = []

    async def hear(run: Run) -> None:
        heard.append((run.id, run.state, run.epoch))

    run = submit(bench)
    async with dispatched(bench, Hand(), hear):
        if state == "cancelled":
            queue.cancel(bench.store, bench.settings, run)
        else:
            await soon(lambda: queue.find_run(bench.store, run.id).pid is not None)
            finish(bench, run.id, state)
        await soon(lambda: queue.find_run(bench.store, run.id).announced)
    async with dispatched(bench, Hand(), hear) as dispatcher:  # the next server has nothing to tell
        assert (await asyncio.to_thread(dispatcher._look)).ended == []
    assert heard == [(run.id, state, 0 if state == "cancelled" else 1)]


async def test_an_end_whose_observer_failed_is_told_again_by_the_next_look(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    async def hear(run: Run) -> None:
        heard.append(run.id)
        if len(heard) == 1:
            raise RuntimeError("the disk of the observer is full")

    run = submit(bench)
    queue.cancel(bench.store, bench.settings, run)
    async with dispatched(bench, Hand(), hear) as dispatcher:
        await soon(lambda: heard == [run.id])
        assert not queue.find_run(bench.store, run.id).announced
        dispatcher.wake()
        await soon(lambda: queue.find_run(bench.store, run.id).announced)
    assert heard == [run.id, run.id]
    assert "the disk of the observer is full" in caplog.text


async def test_a_failed_run_that_is_resumed_has_another_end_to_tell(bench: Bench) -> None:
    heard: list[tuple[str, int]] = []

    async def hear(run: Run) -> None:
        heard.append((run.state, run.epoch))

    run = submit(bench)
    async with dispatched(bench, Hand(), hear):
        for state in ("failed", "succeeded"):
            await soon(lambda: queue.find_run(bench.store, run.id).pid is not None)
            finish(bench, run.id, state)
            await soon(lambda: queue.find_run(bench.store, run.id).announced)
            if state == "failed":
                queue.resume(bench.store, bench.settings, run)
    assert heard == [("failed", 1), ("succeeded", 2)]


def test_waiting_grows_and_ends() -> None:
    assert [backoff(attempts) for attempts in range(5)] == [0, 1, 2, 4, 8]
    assert backoff(1000) == 60


@pytest.mark.slow
def test_a_killed_server_leaves_its_workers_and_the_next_one_knows_them(bench: Bench) -> None:
    bench.allow(2)
    with LiveServer(bench.settings.data_dir) as server:
        orphan = submit(bench, steps=5, allowed=str(bench.allowed))
        waiting = submit(bench, steps=3)
        bench.until_step(orphan, 2)
        server.kill()
        bench.allow(3)
        until(lambda: bench.trace(orphan)[-1:] == [(1, 3)], lambda: "a step without a server")
    with LiveServer(bench.settings.data_dir):
        bench.until_step(orphan, 3)
        assert state_of(bench, waiting) == "queued"  # its place is taken by the orphan
        bench.allow(4)
        bench.until_step(orphan, 4)
        bench.kill(orphan)
        bench.allow(5)
        bench.until_state(orphan, "succeeded")
        bench.until_state(waiting, "succeeded")
    assert bench.trace(orphan) == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 5)]
    assert bench.trace(waiting) == [(1, 1), (1, 2), (1, 3)]


@pytest.mark.slow
def test_what_died_with_the_server_goes_on_with_the_next(bench: Bench, tmp_path: Path) -> None:
    bench.allow(2)
    with LiveServer(bench.settings.data_dir) as server:
        run = submit(bench, steps=4, allowed=str(bench.allowed))
        bench.until_step(run, 2)
        server.kill()
        bench.kill(run)
    bench.allow(4)
    with LiveServer(bench.settings.data_dir) as server:
        bench.until_state(run, "succeeded")
        assert server.stop() == 0
    assert bench.trace(run) == [(1, 1), (1, 2), (2, 3), (2, 4)]

"""A worker and its store: the store may go away and come back, and a worker that lost its run writes nothing more."""

from __future__ import annotations

import os
import signal

import pytest

from stillhouse.jobs import processes
from stillhouse.jobs.claim import Claim, FencedError
from stillhouse.jobs.journal import Journal, read_events
from stillhouse.run import RunEvent
from stillhouse.stores.lock import DatabaseLock
from stillhouse.stores.opening import open_store
from tests.fakes.server import LiveServer
from tests.jobs.conftest import Bench, until


def test_an_old_epoch_is_refused_and_its_worker_stops(bench: Bench) -> None:
    run = bench.new_run()
    bench.store.put_run(run).result()
    boot = processes.identity(os.getpid()) or ""
    epoch = bench.store.claim_run(run.id, pid=os.getpid(), boot=boot).result()
    assert epoch == 1
    journal = Journal(bench.settings.runs / run.id, run.id)
    claim = Claim(run.id, epoch, journal, lambda: open_store(bench.settings, role="worker"))
    bench.store.update_run(run.id, epoch, {"state": "queued"}).result()
    assert bench.store.claim_run(run.id, pid=os.getpid(), boot=boot).result() == 2
    journal.append("from the past", step=1)
    with claim:
        with pytest.raises(FencedError, match="another worker"):
            claim.insist(lambda store: claim.end(store, "succeeded", {}), 5)
        assert claim.should_stop
    journal.close()
    assert bench.store.events(run.id) == []
    found = bench.store.run(run.id)
    assert found is not None and (found.state, found.epoch) == ("running", 2)
    bench.store.update_run(run.id, 2, {"state": "failed", "pid": None}).result()


def test_a_worker_that_slept_through_its_lease_publishes_nothing(bench: Bench) -> None:
    """SIGSTOP, somebody else claims the run, SIGCONT: reliability B2."""
    bench.allow(2)
    run = bench.start()
    bench.until_step(run, 2)
    sleeper = bench.look(run)
    assert sleeper.pid is not None
    lock = DatabaseLock(bench.settings.data_dir)
    assert lock.acquire_within(10)  # so that it does not fall asleep while it holds the lock
    os.kill(sleeper.pid, signal.SIGSTOP)
    lock.release()
    bench.store.update_run(run.id, sleeper.epoch, {"state": "queued"}).result()
    bench.store.claim_run(run.id, pid=os.getpid(), boot=processes.identity(os.getpid()) or "").result()
    bench.allow(8)
    os.kill(sleeper.pid, signal.SIGCONT)
    pid = sleeper.pid
    until(lambda: processes.identity(pid) is None, lambda: "the sleeper's end")
    found = bench.store.run(run.id)
    assert found is not None and (found.state, found.epoch, found.result) == ("running", 2, {})
    assert bench.store.artifacts() == []
    bench.store.update_run(run.id, 2, {"state": "failed", "pid": None}).result()


def test_a_run_goes_on_while_somebody_else_holds_the_database(bench: Bench) -> None:
    """No server, and the lock held (a long command): the run's word waits in its folder and arrives later, whole."""
    bench.allow(1)
    run = bench.start()
    bench.until_step(run, 1)
    lock = DatabaseLock(bench.settings.data_dir)
    assert lock.acquire_within(10)
    try:
        bench.allow(5)
        journal = bench.settings.runs / run.id / "events.jsonl"
        until(lambda: any(event.step == 5 for event in read_events(journal)), lambda: "step 5")
        found = bench.store.run(run.id)
        assert found is not None and found.step < 5
    finally:
        lock.release()
    bench.until_step(run, 5)
    bench.allow(8)
    bench.until_state(run, "succeeded")
    assert bench.losses(run) == {step: 1 / step for step in range(1, 9)}


def test_a_work_that_talks_faster_than_the_store_writes_still_hears(bench: Bench) -> None:
    run = bench.new_run()
    bench.store.put_run(run).result()
    epoch = bench.store.claim_run(run.id, pid=os.getpid(), boot=processes.identity(os.getpid()) or "").result()
    assert epoch == 1
    journal = Journal(bench.settings.runs / run.id, run.id)
    claim = Claim(run.id, epoch, journal, lambda: bench.store)
    bench.store.update_run(run.id, epoch, {"state": "cancelling"}).result()
    journal.append("first")
    sent = journal.sent

    def talk(events: list[RunEvent]) -> None:
        sent(events)
        assert journal.append("more").seq < 100, "the look never came"

    journal.sent = talk  # type: ignore[method-assign]
    claim.flush(bench.store)
    assert claim.should_stop
    assert [event.message for event in journal.unsent()] == ["more"]
    bench.store.update_run(run.id, epoch, {"state": "failed", "pid": None}).result()
    journal.close()


@pytest.mark.slow
def test_a_run_outlives_a_server_that_is_killed_and_one_that_starts(bench: Bench) -> None:
    """Absent, present, vanishing, present again: every event arrives once."""
    bench.allow(1)
    run = bench.start()
    bench.until_step(run, 1)
    for steps in (3, 6):
        with LiveServer(bench.settings.data_dir) as server:
            bench.allow(steps)
            bench.until_step(run, steps)
            server.kill()
    bench.allow(8)
    bench.until_state(run, "succeeded")
    assert bench.losses(run) == {step: 1 / step for step in range(1, 9)}
    events = bench.store.events(run.id)
    assert [event.seq for event in events] == list(range(len(events)))

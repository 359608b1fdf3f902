"""Whoever looks settles what is dead; nobody makes up a success."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from stillhouse.jobs import processes
from stillhouse.jobs.journal import Journal, Status, write_status
from stillhouse.jobs.watch import follow, is_gone, settle_all
from stillhouse.run import LEASE_SECONDS, Run
from tests.fakes.server import LiveServer
from tests.jobs.conftest import Bench

ELSEWHERE = "0f0f0f0f-0000-0000-0000-000000000000/1"


def claimed_by_the_dead(bench: Bench) -> Run:
    """A running run whose worker has ended without a word."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    boot = processes.identity(process.pid)
    process.communicate(b"\n")
    run = bench.new_run()
    bench.store.put_run(run).result()
    bench.store.claim_run(run.id, pid=process.pid, boot=boot or "").result()
    found = bench.store.run(run.id)
    assert found is not None and found.state == "running"
    return found


def test_a_dead_run_is_interrupted_by_the_first_reader(bench: Bench) -> None:
    run = claimed_by_the_dead(bench)
    assert [found.state for found in settle_all(bench.store, bench.settings.runs)] == ["interrupted"]
    settled = bench.store.run(run.id)
    assert settled is not None and settled.finished is not None and settled.result == {}


def test_a_server_that_starts_resumes_what_died_while_nobody_looked(bench: Bench) -> None:
    run = claimed_by_the_dead(bench)
    bench.allow(8)
    with LiveServer(bench.settings.data_dir):
        assert bench.until_state(run, "succeeded").epoch == 2


@pytest.mark.parametrize(("epoch", "state"), [(1, "succeeded"), (0, "interrupted"), (2, "interrupted")])
def test_the_word_a_worker_left_counts_if_it_is_about_this_claim(bench: Bench, epoch: int, state: str) -> None:
    run = claimed_by_the_dead(bench)
    folder = bench.settings.runs / run.id
    folder.mkdir(parents=True)
    journal = Journal(folder, run.id)
    events = [journal.append(step=step, metrics={"sum": float(step)}) for step in (1, 2)]
    bench.store.add_events(events[:1], run.epoch).result()  # the other was on its way when the worker died
    journal.close()
    write_status(folder, Status(epoch=epoch, state="succeeded", finished=7, result={"artifact": "student-1"}))
    settled = bench.look(run)
    assert settled.state == state
    assert bench.store.events(run.id) == events and settled.step == 2
    assert settled.result == ({"artifact": "student-1"} if state == "succeeded" else {})


def test_a_run_that_was_resumed_meanwhile_is_left_alone(bench: Bench) -> None:
    stale = claimed_by_the_dead(bench)
    bench.store.update_run(stale.id, stale.epoch, {"state": "queued"}).result()
    bench.store.claim_run(stale.id, pid=os.getpid(), boot=processes.identity(os.getpid()) or "").result()
    assert bench.look(stale).state == "running"
    bench.store.update_run(stale.id, 2, {"state": "failed", "pid": None}).result()


@pytest.mark.parametrize(("asked", "state"), [("pausing", "paused"), ("cancelling", "cancelled")])
def test_a_run_that_died_while_it_was_asked_to_stop_is_what_was_asked(bench: Bench, asked: str, state: str) -> None:
    run = claimed_by_the_dead(bench)
    bench.store.update_run(run.id, run.epoch, {"state": asked}).result()
    assert bench.look(run).state == state


@pytest.mark.parametrize(("age", "gone"), [(LEASE_SECONDS / 2, False), (LEASE_SECONDS * 2, True)])
def test_a_run_on_another_machine_is_judged_by_its_heartbeat(bench: Bench, age: float, gone: bool) -> None:
    now = time.time()
    run = bench.new_run().model_copy(update={"state": "running", "pid": 1, "boot": ELSEWHERE, "heartbeat": now - age})
    assert is_gone(run, now) is gone


def test_a_queued_run_waits_however_long(bench: Bench) -> None:
    now = time.time()
    assert not is_gone(bench.new_run().model_copy(update={"heartbeat": now - LEASE_SECONDS * 1000}), now)


def test_following_tells_every_event_once_and_ends_with_the_run(bench: Bench) -> None:
    bench.allow(8)
    run = bench.start()
    looks = list(follow(lambda: bench.store, run.id, bench.settings))
    assert looks[-1][0].state == "succeeded"
    assert [event for _, events in looks for event in events] == bench.store.events(run.id)

"""Runs as processes of their own: they end as they say, die as `interrupted`, and go on from where they were."""

from __future__ import annotations

import pytest

from stillhouse.artifacts import verify
from stillhouse.errors import ConflictError
from stillhouse.jobs import queue
from stillhouse.jobs.journal import read_events
from tests.jobs.conftest import Bench


def test_a_run_succeeds_and_its_student_is_registered(bench: Bench) -> None:
    bench.allow(8)
    run = bench.until_state(bench.start(), "succeeded")
    artifact = bench.store.artifact(str(run.result["artifact"]))
    assert artifact is not None
    assert (artifact.run, artifact.dataset, artifact.may_train) == (run.id, bench.fingerprint, {"lab": "yes"})
    assert verify(bench.settings.artifacts / artifact.id) == artifact
    assert (run.step, run.steps, run.error) == (8, 8, None)
    assert bench.losses(run) == {step: 1 / step for step in range(1, 9)}
    events = bench.store.events(run.id)
    assert [event.seq for event in events] == list(range(len(events)))
    assert events == read_events(bench.settings.runs / run.id / "events.jsonl")


def test_a_killed_run_is_interrupted_and_resumes_to_the_same_end(bench: Bench) -> None:
    bench.allow(3)
    run = bench.start()
    bench.until_step(run, 3)
    bench.kill(run)
    dead = bench.look(run)
    assert dead.state == "interrupted"
    assert "resume" in (dead.error or "") or "logs" in (dead.error or "")
    assert bench.store.artifacts() == []
    bench.allow(8)
    bench.resume(dead)
    assert bench.until_state(run, "succeeded").epoch == 2
    assert bench.printed(run).splitlines()[-1] == "scripted training from step 3"
    assert bench.losses(run) == {step: 1 / step for step in range(1, 9)}
    assert len(bench.store.artifacts()) == 1


def test_a_stopped_run_keeps_its_checkpoint_and_resumes(bench: Bench) -> None:
    bench.allow(4)
    run = bench.start()
    bench.until_step(run, 4)
    queue.pause(bench.store, bench.settings, bench.look(run))
    stopped = bench.until_state(run, "paused")
    assert (stopped.step, stopped.error) == (4, None)
    assert queue.pause(bench.store, bench.settings, stopped) == stopped
    bench.allow(8)
    bench.resume(stopped)
    bench.until_state(run, "succeeded")
    assert "from step 4" in bench.printed(run)


def test_a_failing_run_says_why(bench: Bench) -> None:
    bench.allow(8)
    run = bench.until_state(bench.start(fail_at=3), "failed")
    assert run.error == "the loss is not finite at step 3"
    assert bench.store.events(run.id)[-1].level == "error"
    assert bench.store.artifacts() == []


def test_what_runs_or_has_succeeded_is_not_resumed(bench: Bench) -> None:
    run = bench.start()
    bench.until_state(run, "running")
    with pytest.raises(ConflictError, match="is running"):
        bench.resume(bench.look(run))
    bench.allow(8)
    with pytest.raises(ConflictError, match="is succeeded"):
        bench.resume(bench.until_state(run, "succeeded"))


def test_a_second_worker_finds_the_run_taken(bench: Bench) -> None:
    """Two `resume` at once start two processes; one gets the run."""
    run = bench.start()
    bench.until_state(run, "running")
    first = bench.look(run)
    queue.executor_of(bench.settings).start(first)
    bench.allow(8)
    done = bench.until_state(run, "succeeded")
    assert (done.epoch, done.result) == (1, bench.look(run).result)
    assert len(bench.store.artifacts()) == 1


def test_a_run_started_twice_after_its_end_publishes_once(bench: Bench) -> None:
    """Killed between the artifact and the word `succeeded`: the next claim finds the artifact and only says so."""
    bench.allow(8)
    run = bench.until_state(bench.start(), "succeeded")
    before = bench.store.artifacts()
    bench.store.update_run(run.id, run.epoch, {"state": "interrupted", "result": {}}).result()
    bench.resume(bench.look(run))
    assert bench.until_state(run, "succeeded").result == run.result
    assert bench.store.artifacts() == before

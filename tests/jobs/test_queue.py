"""What may be asked of a run, in every state it can be in; and any kind of work through the same worker."""

from __future__ import annotations

import pytest

from stillhouse.errors import ConflictError, NotFoundError, UsageError
from stillhouse.jobs import queue
from stillhouse.run import RunState
from tests.jobs.conftest import Bench

ASKED = {
    "cancel": {
        "queued": "cancelled",
        "running": "cancelling",
        "pausing": "cancelling",
        "cancelling": "cancelling",
        "paused": "cancelled",
        "stopped": "cancelled",
        "interrupted": "cancelled",
        "cancelled": "cancelled",
        "failed": None,
        "succeeded": None,
    },
    "pause": {
        "queued": "paused",
        "running": "pausing",
        "pausing": "pausing",
        "cancelling": None,
        "paused": "paused",
        "stopped": "paused",
        "interrupted": "paused",
        "cancelled": None,
        "failed": None,
        "succeeded": None,
    },
    "resume": {
        "queued": "queued",
        "running": None,
        "pausing": None,
        "cancelling": None,
        "paused": "queued",
        "stopped": "queued",
        "interrupted": "queued",
        "cancelled": None,
        "failed": "queued",
        "succeeded": None,
    },
}


@pytest.mark.parametrize(("verb", "state"), [(verb, state) for verb, states in ASKED.items() for state in states])
def test_every_verb_in_every_state(bench: Bench, verb: str, state: str) -> None:
    run = queue.submit(bench.store, bench.settings, bench.new_run())
    bench.store.update_run(run.id, 0, {"state": state, "error": "e"}).result()
    wanted = ASKED[verb][state]
    if wanted is None:
        with pytest.raises(ConflictError, match=state):
            getattr(queue, verb)(bench.store, bench.settings, run)
        assert queue.find_run(bench.store, run.id).state == state
    else:
        assert getattr(queue, verb)(bench.store, bench.settings, run).state == wanted


def test_what_nobody_does_and_nobody_counts_is_refused(bench: Bench) -> None:
    with pytest.raises(UsageError, match=r"'nosuch'.*train"):
        queue.submit(bench.store, bench.settings, bench.new_run().model_copy(update={"kind": "nosuch"}))
    with pytest.raises(UsageError, match=r"'tpu'.*gpu"):
        queue.submit(bench.store, bench.settings, bench.new_run().model_copy(update={"resource": "tpu"}))
    assert bench.store.runs() == []
    with pytest.raises(NotFoundError, match="run-none"):
        queue.find_run(bench.store, "run-none")


def test_a_cancelled_run_is_never_started(bench: Bench) -> None:
    run = queue.submit(bench.store, bench.settings, bench.new_run())
    queue.cancel(bench.store, bench.settings, run)
    queue.begin(bench.store, bench.settings, run)
    found = bench.look(run)
    assert (found.state, found.epoch, found.pid, found.finished is not None) == ("cancelled", 0, None, True)


def test_any_kind_of_work_ends_with_its_own_result(bench: Bench) -> None:
    done = bench.until_state(bench.start_kind("count", steps=4), "succeeded")
    assert (done.result, done.step, done.steps, done.attempts) == ({"sum": 10}, 4, 4, 0)
    failed = bench.until_state(bench.start_kind("count", steps=4, fail_at=2), "failed")
    assert failed.error == "it was told to fail at step 2"


@pytest.mark.parametrize(("verb", "state"), [("cancel", "cancelled"), ("pause", "paused")])
@pytest.mark.parametrize(("kind", "told"), [("count", "signal"), ("wait", "signal"), ("wait", "look")])
def test_a_working_run_hears_what_is_asked(bench: Bench, kind: str, told: str, verb: str, state: str) -> None:
    run = bench.start_kind(kind, steps=4, allowed=str(bench.allowed))
    bench.until_state(run, "running")
    running: tuple[RunState, ...] = ("running",)
    asking: RunState = "cancelling" if verb == "cancel" else "pausing"
    if told == "signal":
        assert getattr(queue, verb)(bench.store, bench.settings, run).state in (state, asking)
    else:  # as from a machine that cannot signal it: its next look at the store tells it
        assert bench.store.update_run(run.id, 1, {"state": asking}, only=running).result()
    ended = bench.until_state(run, state)
    assert (ended.error, ended.result, ended.epoch) == (None, {}, 1)

"""What every Store promises of runs and what they say: one claim at a time, events once and in order."""

from __future__ import annotations

import pytest

from stillhouse.errors import NotFoundError, UsageError
from stillhouse.keys import Key
from stillhouse.stores.sql import SqlStore
from tests.stores.samples import event, run_record


def test_a_run_is_claimed_once_and_fenced(store: SqlStore) -> None:
    store.put_run(run_record()).result()
    epoch = store.claim_run("run-1", pid=1, boot="a").result()
    assert epoch == 1
    assert store.claim_run("run-1", pid=2, boot="b").result() is None
    assert store.update_run("run-1", epoch, {"state": "queued", "step": 7, "result": {"a": 1}}).result()
    assert store.claim_run("run-1", pid=2, boot="b").result() == 2
    assert not store.update_run("run-1", epoch, {"step": 9}).result()
    assert not store.add_events([event(0)], epoch).result()
    run = store.run("run-1")
    assert run is not None
    assert (run.state, run.epoch, run.pid, run.step, run.result) == ("running", 2, 2, 7, {"a": 1})
    assert store.events("run-1") == []


def test_a_run_is_changed_only_from_the_states_that_are_named(store: SqlStore) -> None:
    store.put_run(run_record()).result()
    assert not store.update_run("run-1", 0, {"state": "cancelled"}, only=("running", "paused")).result()
    assert store.update_run("run-1", 0, {"state": "paused"}, only=("running", "queued")).result()
    assert store.claim_run("run-1", pid=1, boot="a").result() is None
    run = store.run("run-1")
    assert run is not None and run.state == "paused"


def test_runs_whose_end_was_not_told_are_found_oldest_first(store: SqlStore) -> None:
    for number in (1, 2, 3):
        store.put_run(run_record(f"run-{number}", ref=f"job-{number}")).result()
    assert store.update_run("run-2", 0, {"state": "failed", "announced": True}).result()
    assert [run.id for run in store.unannounced_runs()] == ["run-1", "run-3"]
    assert [run.id for run in store.runs(states=("queued", "running"), after="run-3")] == ["run-1"]
    assert [run.id for run in store.runs(ref="job-2")] == ["run-2"]


def test_a_run_that_is_not_there_cannot_be_claimed(store: SqlStore) -> None:
    with pytest.raises(NotFoundError, match="run-none"):
        store.claim_run("run-none", pid=1, boot="a").result()
    with pytest.raises(UsageError, match="no field sped"):
        store.update_run("run-none", 1, {"sped": 1}).result()


def test_events_are_written_once_and_read_in_order(store: SqlStore) -> None:
    store.put_run(run_record()).result()
    epoch = store.claim_run("run-1", pid=1, boot="a").result()
    assert epoch is not None
    first = [event(seq, metrics={"train/loss": seq / 2}, message="步") for seq in range(4)]
    assert store.add_events(first, epoch).result()
    assert store.add_events([event(3, message="changed"), event(4)], epoch).result()
    assert store.add_events([], epoch).result()
    assert store.events("run-1") == [*first, event(4)]
    assert store.events("run-1", after=1, limit=2) == first[2:4]
    run = store.run("run-1")
    assert run is not None
    assert run.heartbeat is not None


def test_runs_are_listed_newest_first(store: SqlStore) -> None:
    for run in (run_record("run-1"), run_record("run-2").model_copy(update={"kind": "eval"}), run_record("run-3")):
        store.put_run(run).result()
    assert [run.id for run in store.runs()] == ["run-3", "run-2", "run-1"]
    assert [run.id for run in store.runs("train", limit=1)] == ["run-3"]


def test_age_counts_and_not_what_an_id_begins_with(store: SqlStore) -> None:
    ids = ["run-1", "evalrun-2", "run-3", "batchrun-4"]
    for number, run_id in enumerate(ids):
        store.put_run(run_record(run_id).model_copy(update={"created": number})).result()
    assert [run.id for run in store.runs()] == ids[::-1]
    assert [run.id for run in store.runs(after="run-3")] == ["evalrun-2", "run-1"]
    assert [run.id for run in store.unannounced_runs()] == ids


def test_whoever_wants_to_know_hears_that_a_run_has_moved(store: SqlStore) -> None:
    heard: list[str] = []
    store.when_runs_change(lambda: heard.append("moved"))
    store.put_run(run_record()).result()
    store.update_run("run-1", 0, {"state": "paused"}).result()
    store.update_run("run-1", 0, {"step": 3, "heartbeat": 1.0}).result()
    store.put_key(Key(id="key-1", name="n", hash="h", shown="s", created=1)).result()
    assert heard == ["moved", "moved"]

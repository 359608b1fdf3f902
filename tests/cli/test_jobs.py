"""`stillhouse jobs`: what may be done with a run of any kind from the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillhouse.ids import new_id
from stillhouse.run import Run
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from tests.cli.conftest import Stillhouse


def put_run(data_dir: Path, **fields: object) -> str:
    given = {"id": new_id("run"), "kind": "train", "name": "try", "state": "queued", "created": 1, "spec": {}, **fields}
    store = open_store(Settings(data_dir=data_dir))
    store.put_run(Run.model_validate(given)).result()
    store.close()
    return str(given["id"])


def test_runs_of_every_kind_are_listed_and_told_apart(stillhouse: Stillhouse, data_dir: Path) -> None:
    old = put_run(data_dir, state="failed", error="the disk [is] full")
    new = put_run(data_dir, kind="label", priority=2)
    assert [run["id"] for run in stillhouse("jobs", "list", "--json").json] == [new, old]
    assert [run["id"] for run in stillhouse("jobs", "list", "--kind", "train", "--json").json] == [old]
    assert [run["id"] for run in stillhouse("jobs", "list", "--state", "queued", "--state", "running", "--json").json] == [new]
    assert [run["id"] for run in stillhouse("jobs", "list", "--limit", "1", "--json").json] == [new]
    assert "the disk [is] full" in stillhouse("jobs", "list").out
    refused = stillhouse("jobs", "list", "--state", "sleeping")
    assert (refused.code, "queued" in refused.err) == (2, True)


def test_a_waiting_run_is_paused_resumed_moved_and_cancelled(
    stillhouse: Stillhouse, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stillhouse.jobs.queue.begin", lambda store, settings, run: False)
    run = put_run(data_dir)
    assert stillhouse("jobs", "priority", run, "7", "--json").json["priority"] == 7
    assert stillhouse("jobs", "pause", run, "--json").json["state"] == "paused"
    assert stillhouse("jobs", "resume", run, "--json").json["state"] == "queued"
    assert stillhouse("jobs", "cancel", run, "--json").json["state"] == "cancelled"
    assert stillhouse("jobs", "show", run, "--json").json["priority"] == 7
    for verb in ("pause", "resume"):
        assert stillhouse("jobs", verb, run).code == 5
    assert stillhouse("jobs", "priority", run, "1").code == 5


def test_what_a_process_printed_is_shown(stillhouse: Stillhouse, data_dir: Path) -> None:
    run = put_run(data_dir)
    folder = Settings(data_dir=data_dir).runs / run
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("a traceback")
    assert "a traceback" in stillhouse("jobs", "logs", run).out
    assert stillhouse("jobs", "logs", run, "--json").json == {"events": [], "printed": "a traceback"}


@pytest.mark.parametrize("verb", ["show", "logs", "cancel", "pause", "resume"])
def test_a_run_that_is_not_there_is_named(stillhouse: Stillhouse, verb: str) -> None:
    ran = stillhouse("jobs", verb, "run-nosuch")
    assert (ran.code, "run-nosuch" in ran.err) == (5, True)

"""`stillhouse dataset remove` and `stillhouse models remove`: for good, files too, and not while somebody needs it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stillhouse.artifact import Artifact
from stillhouse.run import Run as Work
from stillhouse.run import RunState
from stillhouse.settings import Settings
from stillhouse.workspace import Workspace
from tests.cli.test_completions import Run, run
from tests.cli.test_dataset import csv, labelled

__all__ = ["run"]

USAGE, REFUSED = 2, 5
"""Exit codes; 5: not found, or in conflict with what is there."""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """The commands' own; closed after each use, for they take the lock."""
    workspace = Workspace(Settings(data_dir=tmp_path / "data"))
    yield workspace
    workspace.close()


def imported(tmp_path: Path, run: Run, name: str = "tickets", rows: int = 20) -> dict[str, Any]:
    made: dict[str, Any] = run("dataset", "import", name, csv(tmp_path / f"{rows}.csv", *labelled(rows, seed=rows)))
    return made


def put_run(workspace: Workspace, state: RunState, **spec: object) -> None:
    now = int(time.time())
    work = Work(id="run-1", kind="train", name="tickets", state=state, created=now, heartbeat=float(now), spec=spec)
    workspace.store.put_run(work).result()
    workspace.close()


def test_a_version_goes_with_its_files_once_that_is_wished(tmp_path: Path, run: Run, workspace: Workspace) -> None:
    made = imported(tmp_path, run)
    folder = workspace.dataset_folder(made["fingerprint"])
    said = {"dataset": made["fingerprint"], "kept": []}
    assert run("dataset", "remove", "tickets") == {**said, "removed": False}
    assert folder.is_dir() and run("dataset", "show", "tickets") == made
    assert run("dataset", "remove", "tickets", "--yes") == {**said, "removed": True}
    assert not folder.exists() and run("dataset", "list") == [] and run("dataset", "remove", "tickets", "--yes") == REFUSED
    assert imported(tmp_path, run)["fingerprint"] == made["fingerprint"], "it may be made again"


def test_of_several_versions_one_must_be_named(tmp_path: Path, run: Run) -> None:
    old, new = (imported(tmp_path, run, rows=rows)["fingerprint"] for rows in (20, 30))
    assert run("dataset", "remove", "tickets", "--yes") == USAGE and len(run("dataset", "list")) == 2
    assert run("dataset", "remove", f"tickets@{old.removeprefix('sha256:')[:12]}", "--yes")["dataset"] == old
    assert run("dataset", "remove", "tickets", "--yes")["dataset"] == new, "the only one that is left"


@pytest.mark.parametrize("called", ["{fingerprint}", "tickets", "tickets@{version}"])
@pytest.mark.parametrize("state", ["queued", "running", "paused", "interrupted"])
def test_a_version_that_a_run_may_still_read_stays(
    tmp_path: Path, run: Run, workspace: Workspace, state: RunState, called: str
) -> None:
    fingerprint = imported(tmp_path, run)["fingerprint"]
    version = fingerprint.removeprefix("sha256:")[:12]
    put_run(workspace, state, wish={"sources": [called.format(fingerprint=fingerprint, version=version)]})
    assert run("dataset", "remove", "tickets", "--yes") == run("dataset", "remove", "tickets") == REFUSED
    assert workspace.dataset_folder(fingerprint).is_dir()


def test_runs_that_are_over_or_only_called_like_it_keep_nothing(tmp_path: Path, run: Run, workspace: Workspace) -> None:
    fingerprint = imported(tmp_path, run)["fingerprint"]
    put_run(workspace, "failed", dataset=fingerprint)
    put_run(workspace, "running", recipe={"name": "tickets"}, dataset="another")
    assert run("dataset", "remove", "tickets", "--yes")["removed"]


def test_models_made_of_it_are_named_and_stay(tmp_path: Path, run: Run, workspace: Workspace) -> None:
    fingerprint = imported(tmp_path, run)["fingerprint"]
    facts = {"kind": "linear", "created": 1, "parameters": 2, "size_bytes": 3, "hashes": {}}
    workspace.store.put_artifact(Artifact(id="student-1", dataset=fingerprint, **facts)).result()
    workspace.store.put_artifact(Artifact(id="student-2", dataset="sha256:other", **facts)).result()
    workspace.close()
    assert run("dataset", "remove", "tickets", "--yes")["kept"] == ["student-1"]
    assert run("models", "show", "student-1")["dataset"] == fingerprint


def test_a_model_goes_with_its_files_when_nothing_leads_to_it(run: Run, workspace: Workspace) -> None:
    first, second = (run("models", "add", f"builtin:{name}")["id"] for name in ("base", "teacher"))
    folder = workspace.settings.artifacts / first
    run("route", "set", "small", "--model", first)
    assert run("models", "remove", first, "--yes") == REFUSED and folder.is_dir()
    run("route", "set", "small", "--model", second)
    assert run("models", "remove", first) == {"model": first, "removed": False} and folder.is_dir()
    assert run("models", "remove", first, "--yes") == {"model": first, "removed": True}
    assert not folder.exists() and [model["id"] for model in run("models", "list")] == [second]
    assert run("models", "remove", first, "--yes") == REFUSED


def test_a_model_that_a_run_learns_from_stays(run: Run, workspace: Workspace) -> None:
    model = run("models", "add", "builtin:base")["id"]
    put_run(workspace, "paused", recipe={"teacher": {"model": model}})
    assert run("models", "remove", model, "--yes") == REFUSED
    put_run(workspace, "cancelled", recipe={"teacher": {"model": model}})
    assert run("models", "remove", model, "--yes")["removed"]

"""`stillhouse dataset remove` and `stillhouse models remove`: for good, files too, and not while somebody needs it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stillhouse.artifact import Artifact
from stillhouse.dataset import Dataset
from stillhouse.document import Document
from stillhouse.filing import Filing
from stillhouse.jobs import removing
from stillhouse.route import Route
from stillhouse.run import Run as Work
from stillhouse.run import RunState
from stillhouse.settings import Settings
from stillhouse.workspace import Workspace
from tests.cli.test_completions import Run, run
from tests.cli.test_dataset import csv, labelled
from tests.fakes.server import LiveServer

__all__ = ["run"]

USAGE, REFUSED, UNAVAILABLE = 2, 5, 69
"""Exit codes. 5: not found, or in conflict with what is there."""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """The commands' own; closed after each use, for they take the lock."""
    workspace = Workspace(Settings(data_dir=tmp_path / "data"))
    yield workspace
    workspace.close()


def imported(tmp_path: Path, run: Run, name: str = "tickets", rows: int = 20) -> dict[str, Any]:
    made: dict[str, Any] = run("dataset", "import", name, csv(tmp_path / f"{rows}.csv", *labelled(rows, seed=rows)))
    return made


def put_run(workspace: Workspace, state: RunState, *, kind: str = "train", ref: str | None = None, **spec: object) -> None:
    now = int(time.time())
    work = Work(id="run-1", kind=kind, name="tickets", state=state, created=now, heartbeat=float(now), spec=spec, ref=ref)
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


@pytest.mark.parametrize("unclear", ["tickets@", "tickets@sha256:"])
def test_a_prefix_of_several_versions_is_none_of_them(tmp_path: Path, run: Run, unclear: str) -> None:
    for rows in (20, 30):
        imported(tmp_path, run, rows=rows)
    assert run("dataset", "remove", unclear, "--yes") == USAGE and len(run("dataset", "list")) == 2


@pytest.mark.parametrize("called", ["{fingerprint}", "tickets", "tickets@{version}"])
@pytest.mark.parametrize("state", ["queued", "running", "paused", "stopped", "interrupted"])
def test_a_version_that_a_run_may_still_read_stays(
    tmp_path: Path, run: Run, workspace: Workspace, state: RunState, called: str
) -> None:
    fingerprint = imported(tmp_path, run)["fingerprint"]
    version = fingerprint.removeprefix("sha256:")[:12]
    put_run(workspace, state, wish={"sources": [called.format(fingerprint=fingerprint, version=version)]})
    assert run("dataset", "remove", "tickets", "--yes") == run("dataset", "remove", "tickets") == REFUSED
    assert workspace.dataset_folder(fingerprint).is_dir()


@pytest.mark.parametrize(
    ("state", "spec"),
    [
        ("failed", {"dataset": "tickets"}),
        ("running", {"recipe": {"name": "tickets", "student": {"kind": "tickets"}}, "out": "tickets"}),
        ("running", {"source": "tickets@000000000000"}),
        ("running", {"source": "tickets.csv"}),
    ],
)
def test_runs_that_are_over_or_read_something_else_keep_nothing(
    tmp_path: Path, run: Run, workspace: Workspace, state: RunState, spec: dict[str, Any]
) -> None:
    imported(tmp_path, run)
    put_run(workspace, state, **spec)
    assert run("dataset", "remove", "tickets", "--yes")["removed"]


def test_a_run_that_comes_meanwhile_keeps_it(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made, model = imported(tmp_path, run), run("models", "add", "builtin:base")
    for look in ("reader_of_dataset", "reader_of_model"):
        looks = iter([None, Work(id="run-1", kind="train", name="n", state="queued", created=1, heartbeat=1.0, spec={})])
        monkeypatch.setattr(removing, look, lambda *_, looks=looks: next(looks))
    assert run("dataset", "remove", "tickets", "--yes") == run("models", "remove", model["id"], "--yes") == REFUSED
    assert run("dataset", "show", "tickets") == made and run("dataset", "check", "tickets")["problems"] == []
    assert run("models", "show", model["id"]) == model and (tmp_path / "data" / "artifacts" / model["id"]).is_dir()


def test_what_was_made_of_it_is_named_and_stays(tmp_path: Path, run: Run, workspace: Workspace) -> None:
    made = imported(tmp_path, run)
    facts = {"kind": "linear", "created": 1, "parameters": 2, "size_bytes": 3, "hashes": {}}
    workspace.store.put_artifact(Artifact(id="student-1", dataset=made["fingerprint"], **facts)).result()
    workspace.store.put_artifact(Artifact(id="student-2", dataset="sha256:other", **facts)).result()
    later = Dataset.model_validate({**made, "name": "more", "fingerprint": "sha256:more", "parents": [made["fingerprint"]]})
    workspace.store.put_dataset(later).result()
    workspace.close()
    kept = run("dataset", "remove", "tickets", "--yes")["kept"]
    assert [(each["kind"], each["id"]) for each in kept] == [("dataset", "sha256:more"), ("model", "student-1")]
    assert run("models", "show", "student-1")["dataset"] == made["fingerprint"]


def test_files_that_cannot_go_are_told(tmp_path: Path, run: Run, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    made = imported(tmp_path, run)
    folder = workspace.dataset_folder(made["fingerprint"])

    def refused(*_: object, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", refused)
        assert run("dataset", "remove", "tickets", "--yes") == UNAVAILABLE
    left = folder.with_name(removing.ASIDE + folder.name)
    assert left.is_dir() and not folder.exists(), "a part of it never has its name"
    imported(tmp_path, run, rows=30)
    assert run("dataset", "remove", "tickets", "--yes")["removed"] and not left.exists(), "the next one takes it along"


def test_a_live_server_that_holds_the_store_is_asked(tmp_path: Path, run: Run, workspace: Workspace) -> None:
    imported(tmp_path, run)
    model = run("models", "add", "builtin:base")["id"]
    with LiveServer(workspace.settings.data_dir):
        assert run("dataset", "remove", "tickets", "--yes")["removed"] and run("dataset", "list") == []
        assert run("models", "remove", model, "--yes")["removed"] and run("models", "list") == []


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


def test_an_alias_of_an_upstreams_model_of_the_same_name_keeps_nothing(run: Run, workspace: Workspace) -> None:
    facts = {"kind": "causal", "created": 1, "parameters": 2, "size_bytes": 3, "hashes": {}}
    workspace.store.put_artifact(Artifact(id="model-1", name="qwen3", **facts)).result()
    workspace.store.put_artifact(Artifact(id="student-1", name="ft:qwen3:here::1", **facts)).result()
    workspace.store.put_route(Route(alias="small", model="qwen3", created=1)).result()
    workspace.store.put_route(Route(alias="tuned", model="ft:qwen3:here::1", created=1)).result()
    workspace.close()
    assert run("models", "remove", "model-1", "--yes")["removed"]
    assert run("models", "remove", "student-1", "--yes") == run("models", "remove", "ft:qwen3:here::1", "--yes") == REFUSED


def test_a_model_that_a_run_learns_from_stays(run: Run, workspace: Workspace) -> None:
    known = run("models", "add", "builtin:base")
    model = known["id"]
    for called in filter(None, (model, known["name"], str(workspace.settings.artifacts / model))):
        put_run(workspace, "paused", recipe={"teacher": {"members": [{"model": called}]}})
        assert run("models", "remove", model, "--yes") == REFUSED
    put_run(workspace, "cancelled", recipe={"teacher": {"model": model}})
    assert run("models", "remove", model, "--yes")["removed"]


def test_a_model_that_an_eval_judges_by_or_a_batch_asks_stays(run: Run, workspace: Workspace) -> None:
    model, store = run("models", "add", "builtin:base")["id"], workspace.store
    graders = [{"type": "score_model", "model": model}]
    store.put_document(Document(kind="eval", id="eval-1", created=1, record={"testing_criteria": graders})).result()
    store.put_document(Document(kind="eval.run", id="evalrun-1", parent="eval-1", created=1, record={"model": "gpt-4o"})).result()
    put_run(workspace, "running", kind="eval", ref="evalrun-1", eval="eval-1")
    assert run("models", "remove", model, "--yes") == REFUSED
    put_run(workspace, "succeeded", kind="eval", ref="evalrun-1", eval="eval-1")
    filing = Filing(workspace.store, workspace.settings)
    with filing.draft() as draft:
        draft.write(b'{"body": {"model": "gpt-4o"}}\n{"body": {"model": "%s"}}\n' % model.encode())
        sha256 = draft.keep()
    workspace.store.put_document(Document(kind="batch", id="batch-1", created=1, record={"sha256": sha256})).result()
    put_run(workspace, "queued", kind="batch", ref="batch-1", batch="batch-1")
    assert run("models", "remove", model, "--yes") == REFUSED
    put_run(workspace, "succeeded", kind="batch", ref="batch-1", batch="batch-1")
    assert run("models", "remove", model, "--yes")["removed"]

"""The loop from Python with real processes: teacher, made texts, student, comparison; a killed worker; a second student."""

from __future__ import annotations

from pathlib import Path

import pytest

import stillhouse
from stillhouse.errors import NotFoundError, StillhouseError
from stillhouse.jobs.watch import follow
from stillhouse.loop import Distilled
from stillhouse.run import Run
from stillhouse.scripting import _wait
from stillhouse.settings import Settings
from stillhouse.students.base import Classifier
from stillhouse.workspace import Workspace
from tests.jobs.conftest import kill, until
from tests.two_labels import THINGS, write_csv, write_recipes

pytestmark = pytest.mark.usefixtures("forked_workers")


def runs(data_dir: Path) -> list[Run]:
    workspace = Workspace(Settings(data_dir=data_dir))
    try:
        return workspace.store.runs()
    finally:
        workspace.close()


def kill_midway(data_dir: Path) -> None:
    """SIGKILL the only worker there is, once it has left a checkpoint: the store hears of steps only once a second."""
    workspace = Workspace(Settings(data_dir=data_dir))
    workspace.share()
    try:
        until(lambda: any(data_dir.glob("runs/*/checkpoints/step-*/manifest.json")), lambda: "a checkpoint")
        [run] = workspace.store.runs()
        kill(run.pid)
    finally:
        workspace.close()


@pytest.mark.slow
def test_teacher_and_student_through_a_killed_worker_and_again_with_another_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipes(tmp_path, steps=200, every=5)
    train, test = write_csv(tmp_path / "train.csv", "train"), write_csv(tmp_path / "test.csv", "test")
    data_dir, said = tmp_path / "data", list[str]()

    def distill(*changes: str) -> Distilled:
        return stillhouse.distill(recipe, train=train, test=test, changes=changes, data_dir=data_dir, say=said.append)

    def wait_and_kill(workspace: Workspace, run_id: str) -> Run:
        workspace.close()
        kill_midway(data_dir)
        *_, (run, _) = follow(lambda: workspace.store, run_id, workspace.settings)
        return run

    monkeypatch.setattr("stillhouse.scripting._wait", wait_and_kill)
    with pytest.raises(StillhouseError, match="is interrupted"):
        distill()
    [killed] = runs(data_dir)
    assert killed.name == "teacher"
    monkeypatch.setattr("stillhouse.scripting._wait", _wait)

    first = distill()
    assert any(line.startswith(f"Run {killed.id} goes on") for line in said)
    assert first.comparison is not None
    assert first.comparison.teacher == killed.id.replace("run-", "student-")
    assert first.comparison.teacher_accuracy == 1.0
    assert first.comparison.retention is not None and first.comparison.retention.value >= 0.9
    assert first.comparison.smaller > 3
    assert first.comparison.faster is not None
    assert first.dataset.name == "things-augmented"
    assert first.model.teacher == first.comparison.teacher

    second = distill("training.seed=1")
    assert [run.name for run in runs(data_dir)].count("teacher") == 1
    assert second.comparison is not None and second.comparison.teacher == first.comparison.teacher
    assert (second.dataset, second.model.id != first.model.id) == (first.dataset, True)

    student = stillhouse.load_student(first.model.id, data_dir=data_dir)
    assert isinstance(student, Classifier)
    chats = [[{"role": "user", "content": f"the {thing}"}] for thing in THINGS]
    answers = student.answer(chats)
    assert sum(answer == label for answer, label in zip(answers, THINGS.values(), strict=True)) >= 4


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nosuch"):
        stillhouse.load_student("nosuch", data_dir=tmp_path)


def test_a_model_that_comes_along_answers() -> None:
    assert stillhouse.load_student("builtin:base").kind == "causal"


def test_names_of_the_package_are_told() -> None:
    assert {"distill", "load_student"} <= set(stillhouse.__all__)
    with pytest.raises(AttributeError, match="It has: __version__, distill"):
        stillhouse.nosuch  # noqa: B018  # the access is what is tested

"""Student against teacher: retention paired by example, sizes, speeds; nothing where one of them is elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.artifacts import register
from stillhouse.curation import Version, save
from stillhouse.curation.build import in_order
from stillhouse.dataset import Dataset
from stillhouse.evaluation import keep_report
from stillhouse.grade import Answered, Grade, Interval, ModelResult, Report
from stillhouse.jobs.comparing import compare_with_teacher
from stillhouse.jobs.evaluations import files
from stillhouse.settings import Settings
from stillhouse.students.static import StaticStudent
from stillhouse.workspace import Workspace
from tests.students.tiny_encoders import spec, write_wordpieces
from tests.two_labels import examples


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace(Settings(data_dir=tmp_path / "data"))
    yield workspace
    workspace.close()


@pytest.fixture
def dataset(workspace: Workspace) -> Dataset:
    version = Version(name="things", examples=in_order(examples()), removed=Counter())
    return save(version, workspace.dataset_folder, workspace.store)


def put_model(workspace: Workspace, tmp_path: Path, name: str, *, size: int) -> None:
    """An untaught static student with a table of `size` columns."""
    tokenizer = write_wordpieces(tmp_path / "tokenizer")
    student = StaticStudent.build(spec(tokenizer, "static", labels=["animal", "fruit"], embedding_size=size))
    student.save(tmp_path / name)
    folder = workspace.settings.artifacts
    artifact = register(tmp_path / name, folder, identifier=name, kind="static", parameters=student.parameters)
    workspace.store.put_artifact(artifact).result()


def judged(workspace: Workspace, dataset: Dataset, right: dict[str, list[bool]], models: dict[str, str]) -> Report:
    """A report in which `role` was right where `right` says so."""
    results = tuple(
        ModelResult(
            model=model,
            role=role,
            accuracy={"exact": Interval(value=sum(right[role]) / len(right[role]), low=0, high=1)},
            parameters={"student": 100, "teacher": 750}.get(role),
            size_bytes=4000,
        )
        for role, model in models.items()
    )
    rows = [
        Answered(example=str(n), model=model, answer="x", grades={"exact": Grade(score=float(passed), passed=passed)})
        for role, model in models.items()
        for n, passed in enumerate(right[role])
    ]
    report = Report(
        id="report-1",
        name="things",
        created=1,
        dataset=dataset.fingerprint,
        split="test",
        examples=len(right["student"]),
        graders=("exact",),
        results=results,
    )
    return keep_report(report, rows, store=workspace.store, put=files(workspace).put)


def test_a_student_beside_its_teacher(workspace: Workspace, dataset: Dataset, tmp_path: Path) -> None:
    put_model(workspace, tmp_path, "small", size=4)
    put_model(workspace, tmp_path, "large", size=16)
    right = {"student": [True] * 6 + [False] * 4, "teacher": [True] * 8 + [False] * 2}
    report = judged(workspace, dataset, right, {"student": "small", "teacher": "large"})
    found = compare_with_teacher(workspace, report, dataset)
    assert found is not None
    assert (found.student, found.teacher) == ("small", "large")
    assert (found.student_accuracy, found.teacher_accuracy) == (0.6, 0.8)
    assert found.retention is not None
    assert found.retention.value == pytest.approx(0.75)
    assert found.retention.low < 0.75 < found.retention.high <= 1.0
    assert (found.student_parameters, found.teacher_parameters, found.smaller) == (100, 750, 7.5)
    assert (found.student_bytes, found.teacher_bytes) == (4000, 4000)
    assert set(found.texts_per_second) == {"student", "teacher"}
    assert found.faster == found.texts_per_second["student"] / found.texts_per_second["teacher"]


def test_of_a_teacher_that_is_never_right_nothing_is_kept(workspace: Workspace, dataset: Dataset, tmp_path: Path) -> None:
    put_model(workspace, tmp_path, "small", size=4)
    put_model(workspace, tmp_path, "large", size=16)
    right = {"student": [True, False], "teacher": [False, False]}
    found = compare_with_teacher(workspace, judged(workspace, dataset, right, {"student": "small", "teacher": "large"}), dataset)
    assert found is not None and found.retention is None


@pytest.mark.parametrize("models", [{"student": "small"}, {"student": "small", "teacher": "behind-an-api"}])
def test_there_is_nothing_to_compare_with_a_teacher_that_is_elsewhere(
    workspace: Workspace, dataset: Dataset, tmp_path: Path, models: dict[str, str]
) -> None:
    put_model(workspace, tmp_path, "small", size=4)
    right = {role: [True, False] for role in models}
    assert compare_with_teacher(workspace, judged(workspace, dataset, right, models), dataset) is None


def test_decoders_are_compared_without_a_speed(workspace: Workspace, dataset: Dataset) -> None:
    right = {"student": [True, True], "teacher": [True, False]}
    models = {"student": "builtin:base", "teacher": "builtin:teacher"}
    found = compare_with_teacher(workspace, judged(workspace, dataset, right, models), dataset)
    assert found is not None
    assert (found.texts_per_second, found.faster) == ({}, None)
    assert found.retention is not None and found.retention.value == 2.0

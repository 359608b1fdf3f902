"""Student against teacher in the numbers people ask for: how much of the accuracy is kept, how much smaller, how much faster."""

from __future__ import annotations

from pathlib import Path

from stillhouse.artifacts import MANIFEST
from stillhouse.dataset import Dataset
from stillhouse.errors import NotFoundError
from stillhouse.evaluation.intervals import paired_ratio
from stillhouse.evaluation.scoring import passed
from stillhouse.formats.examples import read_examples
from stillhouse.grade import Interval, ModelResult, Report
from stillhouse.jobs.evaluations import report_rows
from stillhouse.jobs.speeds import texts_per_second
from stillhouse.records import Record
from stillhouse.students.texts import naming_task
from stillhouse.workspace import Workspace


class Comparison(Record):
    """By the report's first grader, on its examples."""

    teacher: str
    student: str
    teacher_accuracy: float
    student_accuracy: float
    retention: Interval | None
    """Student's accuracy / teacher's, paired by example. None where the teacher is never right."""
    errors: dict[str, float] = {}
    """Role -> root mean square error, where labels are numbers."""
    teacher_parameters: int
    student_parameters: int
    smaller: float
    """Teacher's parameters / student's."""
    teacher_bytes: int | None = None
    """Of its files."""
    student_bytes: int | None = None
    texts_per_second: dict[str, float] = {}
    """Role -> texts a second in batches of 32 on 2 threads, for classifiers."""
    faster: float | None = None


def compare_with_teacher(workspace: Workspace, report: Report, dataset: Dataset) -> Comparison | None:
    """The report's student and teacher beside each other; None where one of them does not lie on this machine."""
    found = {result.role: result for result in report.results if result.role in ("student", "teacher")}
    folders = {role: _folder(workspace, result.model) for role, result in found.items()}
    if len(found) < 2 or not all(folder is not None for folder in folders.values()):
        return None
    teacher, student = found["teacher"], found["student"]
    if not teacher.parameters or not student.parameters:
        return None
    chats = [naming_task(example) for example in read_examples(workspace.dataset_folder(dataset.fingerprint), "test")]
    speeds = texts_per_second({role: folder for role, folder in folders.items() if folder is not None}, chats)
    grader = report.graders[0]
    return Comparison(
        teacher=teacher.model,
        student=student.model,
        teacher_accuracy=teacher.accuracy[grader].value,
        student_accuracy=student.accuracy[grader].value,
        retention=_retention(workspace, report, teacher, student),
        errors={role: each.numbers.root_mean_square for role, each in found.items() if each.numbers is not None},
        teacher_parameters=teacher.parameters,
        student_parameters=student.parameters,
        smaller=teacher.parameters / student.parameters,
        teacher_bytes=teacher.size_bytes,
        student_bytes=student.size_bytes,
        texts_per_second=speeds,
        faster=speeds["student"] / speeds["teacher"] if len(speeds) == 2 else None,
    )


def _retention(workspace: Workspace, report: Report, teacher: ModelResult, student: ModelResult) -> Interval | None:
    rows = report_rows(workspace, report)
    right = {
        model: {row.example: passed(row, report.graders[0]) for row in rows if row.model == model}
        for model in (student.model, teacher.model)
    }
    shared = [example for example in right[student.model] if example in right[teacher.model]]
    return paired_ratio(
        [right[student.model][example] for example in shared], [right[teacher.model][example] for example in shared]
    )


def _folder(workspace: Workspace, name: str) -> Path | None:
    try:
        folder = workspace.model_folder(name)
    except NotFoundError:
        return None
    return folder if (folder / MANIFEST).is_file() else None

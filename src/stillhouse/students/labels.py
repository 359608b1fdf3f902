"""The labels a student tells apart, task by task, and their order: which number stands for which answer. Knows no network.

With one task the task's name is empty. With several, each has a head of its own, and its rows are compared within its own labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stillhouse.errors import RecipeError
from stillhouse.records import Record


class LabelSet(Record):
    """Names in the order of the scores: the first task's, then the second's, ..."""

    by_task: dict[str, tuple[str, ...]]

    @property
    def tasks(self) -> tuple[str, ...]:
        """In the order of their heads."""
        return tuple(self.by_task)

    @property
    def several(self) -> bool:
        """Whether tasks have heads of their own."""
        return any(self.by_task)

    @property
    def names(self) -> tuple[str, ...]:
        """What each score is of: `label`, or `task/label` where there are several tasks."""
        return tuple(f"{task}/{label}" if task else label for task, labels in self.by_task.items() for label in labels)

    def number(self, task: str, label: str) -> int | None:
        """The label's place among all scores; None where it is unknown."""
        start = 0
        for other, labels in self.by_task.items():
            if other == task:
                return start + labels.index(label) if label in labels else None
            start += len(labels)
        return None

    def span(self, task: str) -> range:
        """Places of a task's labels. Raises KeyError for an unknown one."""
        start = 0
        for other, labels in self.by_task.items():
            if other == task:
                return range(start, start + len(labels))
            start += len(labels)
        raise KeyError(task)

    def own(self, task: str) -> tuple[tuple[str, ...], range]:
        """What an answer to `task` is chosen from, and the places of its scores; all where tasks have no heads of their own."""
        task = task if self.several else ""
        return self.by_task[task], self.span(task)


def gathered(answers: Iterable[tuple[str, str]]) -> LabelSet:
    """The labels that occur, sorted; `answers` are (task, label). Raises RecipeError where a task has fewer than two."""
    found: dict[str, set[str]] = {}
    for task, label in answers:
        found.setdefault(task, set()).add(label)
    for task, labels in found.items():
        if len(labels) < 2:
            where = f"train split, task '{task}'," if task else "train split"
            raise RecipeError(
                f"A classifier tells labels apart and needs at least two; the {where} has {len(labels)}: {sorted(labels)}."
            )
    return LabelSet(by_task={task: tuple(sorted(found[task])) for task in sorted(found)})


def label_order(student: Sequence[str], teacher: Sequence[str] | None) -> tuple[int, ...] | None:
    """Which of the teacher's scores, in the order of the student's; None where they are the same already.

    Raises RecipeError where the two do not know the same labels: their scores cannot be compared.
    """
    if teacher is None:
        raise RecipeError(
            "The student gives labels and the teacher tokens, so their scores cannot be compared. Take a classifier as teacher, "
            'or set [method] kind = "black-box", which learns from its answers.'
        )
    missing, foreign = sorted(set(student) - set(teacher)), sorted(set(teacher) - set(student))
    if missing or foreign:
        only = f"only the student has {_some(missing)}" if missing else f"only the teacher has {_some(foreign)}"
        raise RecipeError(
            f"Teacher and student do not know the same labels ({only}), so their scores cannot be compared. "
            "Set [student.config] labels to the teacher's, or train the teacher on this dataset."
        )
    return None if tuple(student) == tuple(teacher) else tuple(list(teacher).index(label) for label in student)


def _some(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

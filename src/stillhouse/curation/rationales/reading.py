"""A completion file as rationales: its rows, the right answers of the task's Dataset beside it, the type of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.formats.reasoning_teacher.documents import Completions, Samples
from stillhouse.formats.reasoning_teacher.layout import Place, completion_files, dataset_file
from stillhouse.reasoning import Rationale, ReasoningTask, task_of


@dataclass(frozen=True)
class Reading:
    """One file, read."""

    path: Path
    task: ReasoningTask
    completions: Completions
    rationales: list[Rationale]
    gold_from: str
    """`dataset` where its Dataset was found and asks the same questions; `completions`: the rows' own `answer`."""
    strangers: int = 0
    """Rows whose question is not the one that the Dataset has under their index: their own `answer` counts."""

    @property
    def base_model(self) -> str:
        return self.completions.base_model or self._place.get("base_model") or ""

    @property
    def completion_key(self) -> str:
        return self.completions.completion_key or self._place.get("completion_key") or ""

    @property
    def finetune_key(self) -> str | None:
        found = self.completions.metadata.get("finetune_key", self._place.get("finetune_key"))
        return found if isinstance(found, str) else None

    @property
    def _place(self) -> dict[str, Any]:
        try:
            return Place.of(self.path).model_dump()
        except ValueError:
            return {}


def read_folder(root: Path, *, answers: str | None = None) -> Iterator[Reading]:
    """Every completion file of a folder in one of the paper's layouts. Raises NotFoundError, FormatError, UsageError."""
    for path in completion_files(root):
        yield read_rationales(path, root, answers=answers)


def read_rationales(path: Path, root: Path | None = None, *, answers: str | None = None) -> Reading:
    """One completion file; its Dataset is looked for from `root`. `answers`: their type, for a task of one's own."""
    completions = Completions.read(path)
    task = task_of(completions.dataset_key, answers)
    dataset = dataset_file(root if root is not None and root.is_dir() else path.parent, task.key)
    gold = {str(row.get("sample_index")): row for row in Samples.read(dataset).rows} if dataset else {}
    kind, rationales, strangers = task.answers, [], 0
    for key, rows in completions.by_sample.items():
        asked = gold.get(key)
        for row in rows:
            same = asked is not None and _plain(asked.get("question")) == _plain(row.get("question"))
            strangers += bool(gold) and not same
            known = str(asked["answer"]) if asked is not None and same and asked.get("answer") is not None else None
            rationales.append(Rationale(row, kind, completions.template, known))
    whole = bool(gold) and strangers < len(rationales)
    return Reading(path, task, completions, rationales, "dataset" if whole else "completions", strangers)


def _plain(question: object) -> str:
    return " ".join(str(question).split())

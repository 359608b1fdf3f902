"""Questions and answers of a task -> its Dataset and its default split, in the paper's layout."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stillhouse.errors import ConflictError, UsageError
from stillhouse.formats.originals.base import Pair
from stillhouse.formats.reasoning_teacher.documents import Samples, read_json
from stillhouse.formats.reasoning_teacher.layout import new_folder, write_split
from stillhouse.formats.reasoning_teacher.splits import default_split
from stillhouse.reasoning import TASKS
from stillhouse.records import Record


class Prepared(Record):
    """What was written."""

    dataset_key: str
    questions: int
    train: int
    test: int
    expected: int
    """Questions that the paper has; the split is the paper's where there are as many here."""
    dataset_file: str
    split_file: str


def prepare(key: str, found: Iterable[Pair], folder: Path) -> Prepared:
    """Raises UsageError when there is no question, ConflictError where other questions of the task lie there already."""
    pairs = list(found)
    if not pairs:
        raise UsageError(f"There is no question for '{key}'.")
    rows: list[dict[str, Any]] = []
    for index, pair in enumerate(pairs):
        row = {"sample_index": index, "question": pair.question, "answer": pair.answer}
        rows.append(row if pair.rationale is None else {**row, "rationale": pair.rationale})
    samples = Samples({"metadata": {"dataset_key": key}, "data": rows})
    path = new_folder(folder, "dataset") / f"{key}.json"
    if path.is_file() and read_json(path)[0] != samples.content:
        raise ConflictError(f"{path} holds other questions. Choose another folder, or remove it.")
    samples.write(path)
    split = default_split(key, len(rows))
    return Prepared(
        dataset_key=key,
        questions=len(rows),
        train=len(split["train"]),
        test=len(split["test"]),
        expected=TASKS[key].size,
        dataset_file=str(path),
        split_file=str(write_split(folder, key, split)),
    )

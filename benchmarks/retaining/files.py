"""What is learnt from, and measured on."""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from stillhouse.dataset import Example
from stillhouse.students.base import Classifier

HELD_OUT = 0.15
ASKED_AT_ONCE = 512


def files_of(source: Path, task: str, work: Path, *, dev: bool, rows: int | None) -> tuple[Path, Path]:
    """The files to learn from and to measure on: as they are, or made of the train file alone."""
    train_file, test_file = source / task / "train.csv", source / task / "test.csv"
    if not dev and rows is None:
        return train_file, test_file
    parts = _held_out(_read(train_file)) if dev else (_read(train_file), _read(test_file))
    folder = work / "files" / f"{task}-{'dev' if dev else 'test'}-{rows or 'all'}"
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "train.csv", folder / "test.csv"
    for path, part in zip(made, parts, strict=True):
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "category"), *part[:rows]])
    return made


def _read(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def _held_out(rows: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The rows in a random order that is always the same, and the first 15 % of each label apart."""
    shuffled = random.Random(0).sample(rows, len(rows))
    left = {label: round(HELD_OUT * sum(other == label for _, other in rows)) for _, label in rows}
    parts: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for row in shuffled:
        apart = left[row[1]] > 0
        left[row[1]] -= apart
        parts[apart].append(row)
    return parts


def relabelled(examples: Sequence[Example], said: Mapping[str, str] | None) -> list[Example]:
    """What a student learns from without distillation: the same texts, each with one label.

    `said`: the label that the teacher gives each example, by id. None, for the labels of the files: a made text has the label of
    the one that it comes from; words on their own come from none, and keep the teacher's.
    """
    if said is not None:
        return [example.model_copy(update={"answer": said[example.id]}) for example in examples]
    return [
        example.model_copy(update={"answer": example.reference}) if _made(example) and example.reference else example
        for example in examples
    ]


def _made(example: Example) -> bool:
    return "augmented" in example.metadata


def answers(model: Classifier, examples: Sequence[Example]) -> list[str]:
    """The label that `model` gives each."""
    chats = [example.messages for example in examples]
    parts = [model.answer(chats[start : start + ASKED_AT_ONCE]) for start in range(0, len(chats), ASKED_AT_ONCE)]
    return [answer for part in parts for answer in part]

"""Dataset versions made of the paper's completion files, and such files made of a version: `cot import` and `cot export`.

The test split is the paper's: its questions with the gold answer alone, all of them. A test that keeps only what a teacher got
right would flatter every student.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stillhouse.curation import Collected, Options, build, save
from stillhouse.curation.rationales import Reading, Sieve, sift, weigh
from stillhouse.curation.rationales.choosing import Choice, Weighing, choose_by
from stillhouse.curation.rationales.examples import TrainOn, example_of_rationale, question_example, row_of_example
from stillhouse.curation.rationales.filtering import NOT_CHOSEN
from stillhouse.dataset import SPLITS, Dataset, Example, Split, strictest
from stillhouse.errors import NotFoundError, UsageError
from stillhouse.formats.examples import read_examples
from stillhouse.formats.reasoning_teacher.documents import Completions, Samples
from stillhouse.formats.reasoning_teacher.layout import Place, dataset_file, new_folder, read_split, write_split
from stillhouse.formats.reasoning_teacher.splits import default_split
from stillhouse.grading import ForwardedEmbedder
from stillhouse.reasoning import Template
from stillhouse.records import Record
from stillhouse.similarity.base import Embedder
from stillhouse.workspace import Workspace

ALL = "all"


class Making(Record):
    """How rationales become examples."""

    d: int | None = None
    how: Choice = "first"
    seed: int = 0
    embedder: str | None = None
    """Whose vectors tell how different rationales are; None: their word n-grams do."""
    weighing: Weighing = "rationale"
    template: Template | None = None
    """None: the question as it is, and "... The answer is X."."""
    train_on: TrainOn = "text"
    split: str = "default"
    valid: float = 0.0
    """Share of the training questions that become the valid split."""
    may_train: str = "yes"
    """What the teacher's terms say, where its completions do not."""


async def import_rationales(
    workspace: Workspace, name: str, readings: Sequence[Reading], root: Path, sieves: Sequence[Sieve], making: Making
) -> Dataset:
    """One version of all `readings`. Its manifest says what was put aside and why.

    Raises UsageError when nothing is left, ConflictError when the version is there under another name, what an
    embedder raises.
    """
    embedder = None if making.embedder is None else ForwardedEmbedder(workspace.target, making.embedder, closes=True)
    collected = Collected(given_splits=True)
    for reading in readings:
        await _collect(collected, reading, root, sieves, making, embedder)
    if not any(example.split == "train" for example in collected.examples):
        raise UsageError(f"No rationale is left to learn from. Put aside: {dict(collected.removed)}.")
    recipe = {
        "rationales": making.model_dump(mode="json"),
        "completions": [reading.completions.metadata for reading in readings],
        "files": [reading.path.name for reading in readings],
    }
    version = build(name, collected, Options(near_duplicates=None, near_leaks=None, leaks="drop"), recipe=recipe)
    return save(version, workspace.dataset_folder, workspace.store)


def export_version(workspace: Workspace, dataset: Dataset, out: Path) -> list[Path]:
    """The version in the paper's layout: a Dataset, a split and a completion file for each of its tasks; returns the files.

    Rows that came from such files leave as they came. Questions of the valid split are training questions there.
    """
    folder = workspace.dataset_folder(dataset.fingerprint)
    examples = [example for split in SPLITS for example in read_examples(folder, split)]
    by_task: dict[str, list[Example]] = {}
    for example in examples:
        by_task.setdefault(example.metadata.get("task", dataset.name), []).append(example)
    known = {str(each.get("dataset_key")): each for each in dataset.recipe.get("completions", []) if isinstance(each, dict)}
    written: list[Path] = []
    for task, rows in by_task.items():
        model = max(dataset.teachers, key=lambda name: dataset.teachers[name], default=dataset.name)
        metadata = known.get(task) or {"base_model": model, "dataset_key": task, "completion_key": "chat"}
        written += _export_task(task, rows, metadata, out)
    return written


async def _collect(
    collected: Collected,
    reading: Reading,
    root: Path,
    sieves: Sequence[Sieve],
    making: Making,
    embedder: Embedder | None,
) -> None:
    dataset = dataset_file(root, reading.task.key)
    samples = Samples.read(dataset).rows if dataset else _questions_in(reading)
    sides = _sides(root, reading, samples, making)
    trained = [each for each in reading.rationales if sides.get(each.sample) in ("train", "valid")]
    collected.left_out("not in the split", sum(each.sample not in sides for each in reading.rationales))
    collected.left_out(
        "a test question's rationale", len([each for each in reading.rationales if sides.get(each.sample) == "test"])
    )
    sifted = await sift(trained, sieves)
    for reason, count in sifted.counts.items():
        collected.left_out(reason, count)
    chosen = sifted.kept
    if making.d is not None:
        chosen = await choose_by(sifted.kept, making.d, making.how, seed=making.seed, embedder=embedder)
    collected.left_out(NOT_CHOSEN, len(sifted.kept) - len(chosen))
    for rationale, weight in zip(chosen, weigh(chosen, making.weighing), strict=True):
        example = example_of_rationale(
            rationale,
            reading.task.key,
            template=making.template,
            train_on=making.train_on,
            split=sides[rationale.sample],
            weight=weight,
        )
        collected.examples.append(example)
        collected.teacher_of[example.source or ""] = reading.base_model
        collected.upstream_of[example.source or ""] = reading.base_model
    terms = str(reading.completions.metadata.get("may_train", making.may_train))
    collected.may_train = strictest(collected.may_train, {reading.base_model: terms})
    collected.examples += [
        question_example(
            str(row["question"]), str(row["answer"]), reading.task.key, row["sample_index"], template=making.template
        )
        for row in samples
        if sides.get(row["sample_index"]) == "test" and row.get("answer") not in (None, "")
    ]


def _sides(root: Path, reading: Reading, samples: Sequence[dict[str, Any]], making: Making) -> dict[Any, Split]:
    """Sample -> split, by the folder's split file, or, where it has none, as the paper draws it. `all`: all are trained on."""
    if making.split == ALL:
        return {row["sample_index"]: "train" for row in samples}
    try:
        found = read_split(root, reading.task.key, making.split)
    except NotFoundError:
        if making.split != "default":
            raise
        drawn = default_split(reading.task.key, len(samples))
        order = [row["sample_index"] for row in samples]
        found = {part: [order[position] for position in positions] for part, positions in drawn.items()}
    sides: dict[Any, Split] = dict.fromkeys(found.get("test", []), "test")
    for sample in found.get("train", []):
        sides[sample] = "valid" if _fraction(reading.task.key, sample) < making.valid else "train"
    return sides


def _fraction(task: str, sample: object) -> float:
    """The same for a question always, from 0 to 1."""
    return int.from_bytes(hashlib.sha256(f"{task} {sample}".encode()).digest()[:8], "big") / 2**64


def _questions_in(reading: Reading) -> list[dict[str, Any]]:
    """The questions as the rationales have them, for a folder without the Dataset."""
    found = {
        each.sample: {"sample_index": each.sample, "question": each.question, "answer": each.answer}
        for each in reading.rationales
    }
    return list(found.values())


def _export_task(task: str, examples: Sequence[Example], metadata: dict[str, Any], out: Path) -> list[Path]:
    rows = [(example, row_of_example(example, number)) for number, example in enumerate(examples)]
    rows.sort(key=lambda pair: (pair[1]["sample_index"], pair[1].get("completion_index", 0)))
    questions = {
        row["sample_index"]: {key: row.get(key, "") for key in ("sample_index", "question", "answer")} for _, row in rows
    }
    for index in range(max(questions)):  # the paper's code looks questions up by their place: one that is not here leaves a gap
        questions.setdefault(index, {"sample_index": index, "question": "", "answer": ""})
    sides = {row["sample_index"]: example.split for example, row in rows}
    dataset = new_folder(out, "dataset") / f"{task}.json"
    Samples({"metadata": {"dataset_key": task}, "data": [questions[index] for index in sorted(questions)]}).write(dataset)
    parts = {
        part: [index for index, split in sides.items() if (split == "test") == (part == "test")] for part in ("train", "test")
    }
    split = write_split(out, task, parts)
    names = ("base_model", "completion_key", "dataset_key", "finetune_key", "train_key", "epoch")
    place = Place(**{name: metadata.get(name) for name in names})
    completions = new_folder(out, "completion_data") / place.path
    Completions.make(metadata, [row for _, row in rows if "completion" in row]).write(completions)
    return [dataset, split, completions]


def removed_of(dataset: Dataset) -> str:
    """`12 wrong answer, 3 reasoning cut off`."""
    return ", ".join(f"{count:,} {reason}" for reason, count in Counter(dataset.removed).most_common()) or "nothing"

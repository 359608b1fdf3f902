"""A learning curve, measured: quick students of a part of a dataset's train split each, asked the held-out questions.

Parts are drawn by prompt, so that all answers to one stand or fall together, and a smaller part of a seed lies within its larger
ones. Each student is trained in a folder that is removed; what is kept is a line of which answers were right, so a report that
was killed goes on, and the same report again trains nothing.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from stillhouse import __version__
from stillhouse.apply import Journal
from stillhouse.artifacts import load_manifest
from stillhouse.dataset import Dataset, Example, Split
from stillhouse.errors import UsageError
from stillhouse.evaluation.learning_curves import CurveRun, LearningCurve, learning_curve
from stillhouse.formats.examples import read_examples, write_dataset_folder
from stillhouse.grade import Grader
from stillhouse.jobs.planning import check_recipe
from stillhouse.jobs.student import resolve_folders
from stillhouse.recipe import Recipe, Student
from stillhouse.records import canonical_json, fingerprint
from stillhouse.sample import item_of, sample_of
from stillhouse.students import STUDENTS
from stillhouse.training import train
from stillhouse.training.needs import takes_weights
from stillhouse.workspace import Workspace

QUICK = Recipe(name="linear", student=Student(kind="linear"))
"""Seconds a student, and good enough on short texts to say how much data matter."""
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
FEWEST = 20
"""Prompts below which a part is left out: it holds too few labels to learn from."""
FITTED = frozenset({"linear"})
"""Students that come out the same for every seed: with all the texts, one of them is enough."""
BATCH = 256

Progress = Callable[[int, int], None]


async def measure_curve(
    workspace: Workspace,
    dataset: Dataset,
    recipe: Recipe = QUICK,
    *,
    seeds: int = 3,
    progress: Progress = lambda done, of: None,
) -> LearningCurve:
    """The curve on the test split, or on valid where there is no test. Right is what the recipe's first grader passes.

    Raises UsageError where nothing is held out, and what training raises (MissingExtraError, PermissionRefusedError, ...).
    """
    check_recipe(recipe)
    folder = workspace.dataset_folder(dataset.fingerprint)
    held_out = held_out_split(dataset)
    asked, learned = read_examples(folder, held_out), read_examples(folder, "train")
    grader = workspace.grader(recipe.evaluation.graders[0])
    wanted = _parts(learned, recipe.student.kind, seeds)
    said = canonical_json([dataset.fingerprint, held_out, recipe.model_dump(mode="json", exclude={"data", "name"}), __version__])
    path = workspace.settings.data_dir / "curves" / f"{fingerprint(said).removeprefix('sha256:')[:32]}.jsonl"
    with Journal(path, CurveRun) as journal:
        known = {(run.n, run.seed): run for run in journal.items()}
        for done, (part, seed) in enumerate(wanted):
            progress(done, len(wanted))
            if (len(part), seed) not in known:
                right = await _right(workspace, recipe, dataset, part, seed, asked, grader)
                known[len(part), seed] = CurveRun(n=len(part), seed=seed, right=right)
                journal.add(known[len(part), seed])
        progress(len(wanted), len(wanted))
    runs = [known[len(part), seed] for part, seed in wanted]
    return learning_curve(runs, student=recipe.name, held_out=held_out)


def held_out_split(dataset: Dataset) -> Split:
    """Where accuracy is measured. Raises UsageError where there is nothing to measure it on, or nothing to learn from."""
    held_out = next((split for split in ("test", "valid") if dataset.counts.get(split)), None)
    if held_out is None or not dataset.counts.get("train"):
        raise UsageError(f"A learning curve needs texts to learn from and others to ask; {dataset.name} has {dataset.counts}.")
    return "test" if held_out == "test" else "valid"


def _parts(learned: Sequence[Example], kind: str, seeds: int) -> list[tuple[list[Example], int]]:
    """(rows, seed) of every student, small ones first."""
    groups = sorted({example.group for example in learned})
    counts = sorted({count for share in SHARES if (count := math.ceil(share * len(groups))) >= FEWEST or share == 1})
    parts = []
    for count in counts:
        for seed in range(1 if kind in FITTED and count == len(groups) else seeds):
            drawn = set(sorted(groups, key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).digest())[:count])
            parts.append(([example for example in learned if example.group in drawn], seed))
    return parts


async def _right(
    workspace: Workspace,
    recipe: Recipe,
    dataset: Dataset,
    part: Sequence[Example],
    seed: int,
    asked: list[Example],
    grader: Grader,
) -> str:
    """Train on `part`, ask, grade: `1` or `0` for each question."""
    seeded = recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": recipe.training.seed + seed})})
    folders, seeded = resolve_folders(workspace.settings, seeded)
    with tempfile.TemporaryDirectory(prefix="stillhouse-curve-") as name:
        work = Path(name)
        write_dataset_folder(work / "data", part, name=dataset.name, may_train=dataset.may_train)
        student_folder = train(
            seeded,
            work / "data",
            work,
            report=lambda progress: None,
            teacher_folder=next(iter(folders.teachers), None),
            member_folders=folders.teachers if recipe.teacher.members else (),
            base_folder=folders.base,
            signals_folder=workspace.settings.signals if takes_weights(recipe) else None,
        )
        assert student_folder is not None  # nobody asks it to stop
        student = STUDENTS.resolve(load_manifest(student_folder).kind).load(student_folder)
        answers: list[str] = []
        for begin in range(0, len(asked), BATCH):
            chats = [example.messages for example in asked[begin : begin + BATCH]]
            answers += student.answer(chats, max_tokens=recipe.evaluation.max_tokens)
    grades = [await grader.grade(item_of(each), sample_of(said)) for each, said in zip(asked, answers, strict=True)]
    return "".join("1" if grade.passed else "0" for grade in grades)

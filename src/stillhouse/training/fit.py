"""Training a student that is fitted in one go: no steps, so no checkpoints; killed, it starts again."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

from stillhouse.answers import final_answer
from stillhouse.dataset import Example
from stillhouse.errors import RecipeError, TrainingError
from stillhouse.formats.examples import read_examples, read_manifest
from stillhouse.method import BlackBox
from stillhouse.recipe import Recipe
from stillhouse.students.base import last_user_text
from stillhouse.students.linear import LinearStudent
from stillhouse.training.base import Job, Progress
from stillhouse.training.lineage import check_terms, finished, write_student

LEAST = 1e-12
"""What a label counts as that the student does not know: a validation file may hold one that training did not."""


def fit_linear(job: Job) -> Path | None:
    """Fit the linear student of `job`. Returns its folder, or None when asked to stop before the fit begins."""
    dataset = read_manifest(job.dataset_folder)
    check_terms(job, dataset)
    if finished(job):
        return job.student_folder
    if not isinstance(job.recipe.method, BlackBox):
        raise RecipeError('A linear student learns from labels, not logits: set [method] kind = "black-box".')
    _refuse_idle(job.recipe)
    examples = read_examples(job.dataset_folder, "train")
    texts, labels = [last_user_text(example.messages) for example in examples], _labels(job.recipe, examples)
    if job.should_stop():
        return None
    job.report(Progress(step=0, steps=1, message=f"fitting {len(texts)} texts with {len(set(labels))} labels"))
    started = time.perf_counter()
    weights = [example.weight for example in examples]
    student = LinearStudent.fit(
        texts,
        labels,
        job.recipe.student.config,
        seed=job.recipe.training.seed,
        weights=None if set(weights) == {1.0} else weights,
    )
    metrics = {"perf/seconds": time.perf_counter() - started, **_measured(job, student, "train", examples)}
    if watched := read_examples(job.dataset_folder, "valid"):
        of_valid = _measured(job, student, "eval", watched)
        metrics |= {**of_valid, "eval/accuracy": of_valid["eval/token_accuracy"]}
    job.report(Progress(step=1, steps=1, metrics=metrics))
    return write_student(job, student, dataset, metrics)


def _refuse_idle(recipe: Recipe) -> None:
    """Raises RecipeError for what only means something where there are steps."""
    names = ("curriculum", "frozen", "average", "pack", "gradient_checkpointing")
    idle = [name for name in names if getattr(recipe.training, name)]
    if idle or recipe.stages:
        named = ", ".join([*(f"[training] {name}" for name in idle), *(["[[stages]]"] if recipe.stages else [])])
        raise RecipeError(f"A linear student is fitted in one go, without steps: leave {named} out.")


def _measured(job: Job, student: LinearStudent, name: str, examples: Sequence[Example]) -> dict[str, float]:
    """Mean surprise in nats, and share of right labels, under the names that a network's have."""
    said = student.probabilities([example.messages for example in examples])
    labels = _labels(job.recipe, examples)
    pairs = list(zip(said, labels, strict=True))
    return {
        f"{name}/loss": sum(-math.log(max(row.get(label, 0.0), LEAST)) for row, label in pairs) / len(pairs),
        f"{name}/token_accuracy": sum(max(row, key=row.__getitem__) == label for row, label in pairs) / len(pairs),
    }


def _labels(recipe: Recipe, examples: Sequence[Example]) -> list[str]:
    whole = isinstance(recipe.method, BlackBox) and recipe.method.rationale
    labels = [example.answer.strip() if whole else final_answer(example.answer) for example in examples]
    for example, label in zip(examples, labels, strict=True):
        if not label:
            raise TrainingError(
                f"The example {example.id} has no label to learn: its answer is empty. Remove it from the dataset."
            )
    return labels

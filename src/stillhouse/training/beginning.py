"""What a run begins with: the student as the recipe builds it, its examples as numbers, what it minimises, what it is fed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from stillhouse.answers import final_answer
from stillhouse.dataset import Example
from stillhouse.errors import RecipeError
from stillhouse.formats.examples import read_examples
from stillhouse.method import BlackBox
from stillhouse.students import STUDENTS
from stillhouse.students.base import Trainable
from stillhouse.tensors import Encoded
from stillhouse.training.assembling import feed_of, objective_of, teacher_to_start_from
from stillhouse.training.base import Job
from stillhouse.training.distributed import Ranks
from stillhouse.training.feeds import DatasetFeed, Feed
from stillhouse.training.objective import Objective
from stillhouse.training.order import Order


class Begun(NamedTuple):
    """The parts of a run, before its first step."""

    student: Trainable
    objective: Objective
    feed: Feed
    valid: list[Encoded]


def begin(job: Job, ranks: Ranks) -> Begun:
    """Build and encode. Raises RecipeError for what cannot be built or compared, TrainingError for an example with no answer."""
    training = job.recipe.training
    examples = {split: read_examples(job.dataset_folder, split) for split in ("train", "valid")}
    if not examples["train"]:
        raise RecipeError(f"The dataset in {job.dataset_folder} has no train examples.")
    build = STUDENTS.resolve(job.recipe.student.kind).build
    student: Trainable = build(
        job.recipe.student,
        job.base_folder,
        dropout=training.dropout,
        seed=training.seed,
        examples=examples["train"],
        teacher=teacher_to_start_from(job),
    )
    rows = {split: encode(job, student, them) for split, them in examples.items()}
    objective = objective_of(job, student, [*rows["train"], *rows["valid"]])
    order = Order(
        [row.length for row in rows["train"]],
        batch_size=training.batch_size,
        accumulate=training.accumulate,
        seed=training.seed,
        bucket=training.bucket,
    )
    return Begun(student, objective, feed_of(job, student, DatasetFeed(rows["train"], order)), rows["valid"])


def encode(job: Job, student: Trainable, examples: Sequence[Example]) -> list[Encoded]:
    """Examples as numbers, in order; the final answers alone where the method says so."""
    method = job.recipe.method
    if isinstance(method, BlackBox) and not method.rationale:
        examples = [example.model_copy(update={"answer": final_answer(example.answer)}) for example in examples]
    return student.encode(examples, max_tokens=job.recipe.training.max_tokens)

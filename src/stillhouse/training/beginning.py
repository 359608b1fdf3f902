"""What a run begins with: the student as the recipe builds it, its examples as numbers, what it minimises, what it is fed."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import NamedTuple

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError
from stillhouse.formats.examples import read_examples
from stillhouse.method import BlackBox, Preference
from stillhouse.recipe import Training
from stillhouse.students import STUDENTS
from stillhouse.students.base import Trainable
from stillhouse.tensors import Encoded
from stillhouse.training.assembling import feed_of, objective_of, teacher_to_start_from
from stillhouse.training.base import Job
from stillhouse.training.curriculum import EasyFirst, difficulties
from stillhouse.training.feeds import DatasetFeed, Feed, Ordered
from stillhouse.training.objective import Objective
from stillhouse.training.order import Order
from stillhouse.training.preference import is_pair, paired, with_reference
from stillhouse.training.schedule import steps_of
from stillhouse.training.segments import encode_parts


class Begun(NamedTuple):
    """The parts of a run, before its first step."""

    student: Trainable
    objective: Objective
    feed: Feed
    valid: list[Encoded]


def begin(job: Job) -> Begun:
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
    freeze(student, training.frozen)
    if isinstance(job.recipe.method, Preference):  # those without a worse answer are not watched either
        examples["valid"] = [example for example in examples["valid"] if is_pair(example)]
    rows = {split: encode(job, student, them) for split, them in examples.items()}
    objective = objective_of(job, student, [*rows["train"], *rows["valid"]])
    feed = feed_of(job, student, DatasetFeed(rows["train"], _order(training, examples["train"], rows["train"])))
    return Begun(student, objective, feed, rows["valid"])


def freeze(student: Trainable, patterns: Sequence[str]) -> None:
    """Weights with such names are not trained. Raises RecipeError for a pattern that fits none, or where nothing is left."""
    named = dict(student.network.named_parameters())
    for pattern in patterns:
        names = [name for name in named if fnmatch(name, pattern)]
        if not names:
            raise RecipeError(f"[training] frozen: no weight is called '{pattern}'. There are: {', '.join(list(named)[:8])}, ...")
        for name in names:
            named[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in named.values()):
        raise RecipeError(f"[training] frozen = {list(patterns)} leaves nothing to train.")


def _order(training: Training, examples: Sequence[Example], rows: Sequence[Encoded]) -> Ordered:
    order = Order(
        [row.length for row in rows],
        batch_size=training.batch_size,
        accumulate=training.accumulate,
        seed=training.seed,
        bucket=training.bucket,
    )
    if training.curriculum is None:
        return order
    hardness = difficulties(examples, rows, training.curriculum.by)
    return EasyFirst(order, hardness, training.curriculum, steps_of(training, order.steps_per_epoch))


def encode(job: Job, student: Trainable, examples: Sequence[Example]) -> list[Encoded]:
    """Examples as numbers, in order: parts of their answers, or pairs of a better and a worse one, where the method says so."""
    method, longest = job.recipe.method, job.recipe.training.max_tokens
    if isinstance(method, BlackBox):
        return encode_parts(student, examples, method, max_tokens=longest)
    if not isinstance(method, Preference):
        return student.encode(examples, max_tokens=longest)
    pairs = paired(student, examples, max_tokens=longest)
    return with_reference(student, pairs) if method.loss == "dpo" else pairs

"""From a recipe to the objects a run is made of: who teaches, what is minimised, what it is fed. The parts meet only here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stillhouse.errors import RecipeError
from stillhouse.formats.examples import read_examples
from stillhouse.losses import LOSSES
from stillhouse.losses.base import Loss
from stillhouse.losses.forward_kl import ForwardKL
from stillhouse.method import BlackBox, Method, WhiteBox
from stillhouse.students import STUDENTS
from stillhouse.students.base import Trainable
from stillhouse.students.causal import CausalStudent
from stillhouse.students.labels import label_order
from stillhouse.students.sizes import sizes_of
from stillhouse.tensors import Encoded
from stillhouse.training.base import Job
from stillhouse.training.features import FeatureTerms
from stillhouse.training.feeds import Feed
from stillhouse.training.needs import kind_of, teacher_folders
from stillhouse.training.objective import Distillation, Objective
from stillhouse.training.policy_gradient import PolicyGradient
from stillhouse.training.rollouts import RolloutFeed
from stillhouse.training.stages import Stages
from stillhouse.training.teachers.average import AverageTeacher
from stillhouse.training.teachers.base import Teaching
from stillhouse.training.teachers.live import LiveTeacher
from stillhouse.training.teachers.mutual import MutualTeacher
from stillhouse.training.teachers.several import SeveralTeachers


def objective_of(job: Job, student: Trainable, rows: Sequence[Encoded] = ()) -> Objective:
    """What the recipe minimises, stage by stage. `rows`: all that is trained on or watched, for teachers that are asked once.

    Raises RecipeError where teacher and student cannot be compared.
    """
    methods = job.recipe.methods()
    teachings: dict[str, Teaching] = {}
    stages = [(share, _objective(job, student, rows, method, teachings)) for share, method in methods]
    return stages[0][1] if len(stages) == 1 else Stages(stages)


def feed_of(job: Job, student: Trainable, feed: Feed) -> Feed:
    """The dataset's feed, or one that answers some of its windows with the student's own words. Raises RecipeError."""
    method = job.recipe.method
    if not isinstance(method, WhiteBox) or method.rollouts is None:
        return feed
    if not isinstance(student, CausalStudent):
        raise RecipeError(f"[method.rollouts] is for decoders, and the student is of kind '{student.kind}'. Leave it out.")
    teacher = load_teacher(job, student) if method.rollouts.mix > 0 else None
    assert teacher is None or isinstance(teacher, CausalStudent)
    training = job.recipe.training
    return RolloutFeed(feed, student, method.rollouts, seed=training.seed, max_tokens=training.max_tokens, teacher=teacher)


def teacher_to_start_from(job: Job) -> Trainable | None:
    """The teacher, where the student takes its labels or weights over from it; None where it needs neither.

    A teacher that is only read from a cache is not loaded for its labels: those of the dataset are its own.
    """
    recipe = job.recipe
    live = any(isinstance(method, WhiteBox) and method.source == "live" for _, method in recipe.methods())
    labels = live and recipe.student.kind in ("encoder", "static")
    folders = teacher_folders(job)
    return load_folder(folders[0], recipe.student.kind) if folders and (recipe.student.init is not None or labels) else None


def _objective(
    job: Job, student: Trainable, rows: Sequence[Encoded], method: Method, teachings: dict[str, Teaching]
) -> Objective:
    if isinstance(method, BlackBox):
        return Objective()
    assert isinstance(method, WhiteBox)
    if method.source not in teachings:
        teachings[method.source] = _teaching(job, student, rows, method)
    teaching, loss = teachings[method.source], _loss(method)
    if method.rollouts is not None and method.rollouts.estimator == "policy-gradient" and loss is not None:
        return PolicyGradient(method, teaching, loss)
    return Distillation(method, teaching, loss, _features(job, student, method, teaching))


def _features(job: Job, student: Trainable, method: WhiteBox, teaching: Teaching) -> FeatureTerms | None:
    """The comparisons of inner states, sized for both networks."""
    if not method.features:
        return None
    ours, theirs = sizes_of(student), teaching.sizes
    return FeatureTerms(method.features, ours.layers, theirs.layers, ours.width, theirs.width, seed=job.recipe.training.seed)


def _loss(method: WhiteBox) -> Loss | None:
    if method.loss == "none":
        return None
    try:
        loss: Loss = LOSSES.resolve(method.loss)(**method.options)
    except (TypeError, ValueError) as exc:
        raise RecipeError(f"[method.options] does not fit the loss '{method.loss}': {exc}.") from exc
    return loss


def _teaching(job: Job, student: Trainable, rows: Sequence[Encoded], method: WhiteBox) -> Teaching:
    if method.source == "ema":
        return AverageTeacher(student, decay=method.ema_decay)
    if method.source == "mutual":
        return _mutual(job, student, method)
    teachers = [live_teacher(job, student, index) for index in range(len(teacher_folders(job)))]
    return (
        teachers[0] if len(teachers) == 1 else SeveralTeachers(job.recipe.teacher.members, teachers, job.recipe.teacher.combine)
    )


def live_teacher(job: Job, student: Trainable, index: int = 0) -> LiveTeacher:
    """The recipe's local teacher, its rows lined up with the student's. Raises RecipeError where they cannot be compared."""
    teacher = load_teacher(job, student, index)
    if student.row_labels is None:
        check_tokenizers(teacher, student)
        return LiveTeacher(teacher)
    order = label_order(student.row_labels, teacher.row_labels)
    if teacher.tokenizer_hash() == student.tokenizer_hash():
        return LiveTeacher(teacher, order=order)
    examples = [example for split in ("train", "valid") for example in read_examples(job.dataset_folder, split)]
    rows = teacher.encode(examples, max_tokens=job.recipe.training.max_tokens)
    return LiveTeacher(teacher, order=order, encoded={row.example: row for row in rows})


def load_teacher(job: Job, student: Trainable, index: int = 0) -> Trainable:
    """The weights of one of the recipe's local teachers."""
    return load_folder(teacher_folders(job)[index], student.kind)


def load_folder(folder: Path, kind: str) -> Trainable:
    """The model in `folder`; `kind` where it has no manifest that says."""
    teacher: Trainable = STUDENTS.resolve(kind_of(folder, kind)).load(folder)
    return teacher


def _mutual(job: Job, student: Trainable, method: WhiteBox) -> Teaching:
    """The peer: the teacher's weights where the recipe names one, else a second student from other random numbers."""
    if teacher_folders(job):
        peer = load_teacher(job, student)
        check_tokenizers(peer, student)
    else:
        training = job.recipe.training
        examples = read_examples(job.dataset_folder, "train")
        build = STUDENTS.resolve(job.recipe.student.kind).build
        peer = build(job.recipe.student, job.base_folder, dropout=0.0, seed=training.seed + 1, examples=examples)
    lessons = Distillation(method, LiveTeacher(student, frozen=False), ForwardKL())
    return MutualTeacher(peer, lessons, learning_rate=job.recipe.training.learning_rate)


def check_tokenizers(teacher: Trainable, student: Trainable) -> None:
    """Raises RecipeError where the same text becomes other tokens."""
    if teacher.tokenizer_hash() != student.tokenizer_hash():
        raise RecipeError(
            "Teacher and student have different tokenizers, so their logits cannot be compared. Give the student the teacher's "
            'tokenizer ([student] tokenizer = its folder), or compare where their texts meet ([method] align = "bytes"), or set '
            '[method] kind = "black-box", which learns from text and fits any pair.'
        )

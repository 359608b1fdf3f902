"""From a recipe to the objects a run is made of: what is minimised, what it is fed. The parts meet only here."""

from __future__ import annotations

from collections.abc import Sequence

from stillhouse.errors import RecipeError
from stillhouse.method import BlackBox, Method, Preference, WhiteBox
from stillhouse.students.base import Trainable
from stillhouse.students.causal import CausalStudent
from stillhouse.tensors import Encoded
from stillhouse.training.base import Job
from stillhouse.training.choosing import Local, Teachers, load_folder
from stillhouse.training.combinations import loss_of
from stillhouse.training.feeds import Feed
from stillhouse.training.needs import teacher_folders
from stillhouse.training.objective import Distillation, Objective
from stillhouse.training.policy_gradient import PolicyGradient
from stillhouse.training.preference import Contrastive, DirectPreference
from stillhouse.training.rollouts import RolloutFeed
from stillhouse.training.stages import Stages


def objective_of(job: Job, student: Trainable, rows: Sequence[Encoded] = ()) -> Objective:
    """What the recipe minimises, stage by stage. `rows`: all that is trained on or watched, for teachers that are asked once.

    Raises RecipeError where teacher and student cannot be compared, StopRequestedError where the run was asked to stop meanwhile.
    """
    teachers = Teachers(job, student, rows)
    stages = [(share, _objective(job, student, method, teachers)) for share, method in job.recipe.methods()]
    return stages[0][1] if len(stages) == 1 else Stages(stages)


def feed_of(job: Job, student: Trainable, feed: Feed) -> Feed:
    """The dataset's feed, or one that answers some of its windows with the student's own words. Raises RecipeError."""
    method = job.recipe.method
    if not isinstance(method, WhiteBox) or method.rollouts is None:
        return feed
    if not isinstance(student, CausalStudent):
        raise RecipeError(f"[method.rollouts] is for decoders, and the student is of kind '{student.kind}'. Leave it out.")
    teacher = Local(job, student, teacher_folders(job)[0]).weights if method.rollouts.mix > 0 else None
    assert teacher is None or isinstance(teacher, CausalStudent)
    training = job.recipe.training
    return RolloutFeed(feed, student, method.rollouts, seed=training.seed, max_tokens=training.max_tokens, teacher=teacher)


def teacher_to_start_from(job: Job) -> Trainable | None:
    """The teacher, where the student takes over its weights, or its labels; None where it needs neither."""
    recipe, folders = job.recipe, teacher_folders(job)
    labels = recipe.student.kind in ("encoder", "static") and any(isinstance(each, WhiteBox) for _, each in recipe.methods())
    return load_folder(folders[0], recipe.student.kind) if folders and (recipe.student.init is not None or labels) else None


def _objective(job: Job, student: Trainable, method: Method, teachers: Teachers) -> Objective:
    if isinstance(method, BlackBox):
        return Objective()
    if isinstance(method, Preference):
        if method.loss == "dpo":
            return DirectPreference(method)
        return Contrastive(method, Local(job, student, teacher_folders(job)[0]).live())
    loss = loss_of(method)
    teaching, features = teachers.of(method)
    if method.rollouts is not None and method.rollouts.estimator == "policy-gradient" and loss is not None:
        return PolicyGradient(method, teaching, loss)
    return Distillation(method, teaching, loss, features)

"""Who teaches, and whether it can: a recipe that asks for what its teacher cannot give is refused before any compute."""

from __future__ import annotations

from stillhouse.errors import RecipeError
from stillhouse.losses import LOSSES
from stillhouse.losses.base import Loss
from stillhouse.method import WhiteBox
from stillhouse.students.base import Trainable
from stillhouse.students.causal import CausalStudent
from stillhouse.training.base import Job
from stillhouse.training.objective import Objective
from stillhouse.training.teachers.live import LiveTeacher


def objective_of(job: Job, student: Trainable) -> Objective:
    """What the recipe's method minimises. Raises RecipeError where the teacher cannot give the signal that it needs."""
    method = job.recipe.method
    if not isinstance(method, WhiteBox):
        return Objective()
    loss: Loss = LOSSES.resolve(method.loss)(**method.options)
    if job.teacher_folder is None:
        raise RecipeError(
            "A white-box method needs the weights of its teacher: set [teacher] model to a local causal artifact, or [method] "
            'kind = "black-box" for a teacher that only answers.'
        )
    teacher = CausalStudent.load(job.teacher_folder)
    _check_vocabulary(teacher, student)
    return Objective(LiveTeacher(teacher), loss, temperature=method.temperature, share=method.weight)


def _check_vocabulary(teacher: Trainable, student: Trainable) -> None:
    remedy = (
        'Give the student the teacher\'s tokenizer ([student] tokenizer = its folder), or set [method] kind = "black-box", '
        "which learns from text and fits any pair."
    )
    if teacher.tokenizer_hash() != student.tokenizer_hash():
        raise RecipeError(f"Teacher and student have different tokenizers, so their logits cannot be compared. {remedy}")

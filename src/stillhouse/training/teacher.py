"""The teacher of a white-box run: a local causal model over the student's own vocabulary, or a refusal before any compute."""

from __future__ import annotations

from stillhouse.errors import RecipeError
from stillhouse.losses import LOSSES
from stillhouse.losses.base import Loss
from stillhouse.recipe import BlackBox
from stillhouse.students.causal import CausalStudent
from stillhouse.training.base import Job
from stillhouse.training.objective import Objective


def objective_of(job: Job, student: CausalStudent) -> Objective:
    """What the recipe's method minimises. Raises RecipeError where the teacher cannot give the signal that it needs."""
    method = job.recipe.method
    if isinstance(method, BlackBox):
        return Objective()
    loss: Loss = LOSSES.resolve(method.loss)(temperature=method.temperature)
    if loss.needs not in ("text", "logits"):
        raise RecipeError(f"The loss '{method.loss}' needs {loss.needs}, and a local causal teacher gives text and logits here.")
    if job.teacher_folder is None:
        raise RecipeError(
            "A white-box method needs the weights of its teacher: set [teacher] model to a local causal artifact, or [method] "
            'kind = "black-box" for a teacher that only answers.'
        )
    teacher = CausalStudent.load(job.teacher_folder)
    _check_vocabulary(teacher, student)
    teacher.network.requires_grad_(False)
    return Objective(teacher.network, loss, temperature=method.temperature, share=method.weight)


def _check_vocabulary(teacher: CausalStudent, student: CausalStudent) -> None:
    remedy = (
        'Give the student the teacher\'s tokenizer ([student] tokenizer = its folder), or set [method] kind = "black-box", '
        "which learns from text and fits any pair."
    )
    if teacher.tokenizer_hash() != student.tokenizer_hash():
        raise RecipeError(f"Teacher and student have different tokenizers, so their logits cannot be compared. {remedy}")
    if teacher.vocabulary_size != student.vocabulary_size:
        raise RecipeError(
            f"The teacher scores {teacher.vocabulary_size} tokens and the student {student.vocabulary_size}: with one tokenizer, "
            f"[student.config] vocab_size must be {teacher.vocabulary_size}. {remedy}"
        )

"""What a recipe's words cannot mean together: said before a teacher is trained, a text made or a process started.

What takes the data, a network's sizes or a tokenizer to tell is said where these are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from stillhouse.errors import RecipeError
from stillhouse.losses import LOSSES
from stillhouse.method import Method, Preference, WhiteBox
from stillhouse.recipe import Recipe

if TYPE_CHECKING:
    from stillhouse.losses.base import Loss

READERS = ("encoder", "static")
"""Kinds of students that read texts and write none."""
ALIGNED_BY: dict[str, Literal["ranks", "tokens"]] = {"ranked": "ranks", "top_k": "tokens"}
"""Loss -> what two vocabularies are compared by under `align = "bytes"`."""


def check_combinations(recipe: Recipe) -> None:
    """Raises RecipeError, or UsageError for a name that stands for nothing, for the first thing that cannot be."""
    for _, method in recipe.methods():
        if isinstance(method, WhiteBox):
            _check_words(method)
            _check_alignment(recipe, method)
            _check_several(recipe, method)
            _check_peer(recipe, method)
        _check_kind(recipe, method)
    _check_student(recipe)
    members = recipe.teacher.members
    if recipe.teacher.combine != "task" and any(member.tasks for member in members):
        raise RecipeError(
            f'[[teacher.members]] tasks say who teaches which task, and combine = "{recipe.teacher.combine}" does not ask: '
            'set [teacher] combine = "task", or leave tasks out.'
        )


def loss_of(method: WhiteBox) -> Loss | None:
    """The divergence, with its options; None for "none". Raises RecipeError for options that it does not take."""
    if method.loss == "none":
        return None
    try:
        loss: Loss = LOSSES.resolve(method.loss)(**method.options)
    except (TypeError, ValueError) as exc:
        raise RecipeError(f"[method.options] does not fit the loss '{method.loss}': {exc}.") from exc
    return loss


def _check_words(method: WhiteBox) -> None:
    from stillhouse.training.caching import key_of
    from stillhouse.training.features import built

    loss_of(method)
    for feature in method.features:
        built(feature)
    if method.source == "cache":
        key_of(method, tokenizer="", teacher="")


def _check_alignment(recipe: Recipe, method: WhiteBox) -> None:
    if method.align != "bytes":
        return
    plain = method.source == "live" and method.temperature == 1.0 and not method.features and not method.rollouts
    if method.loss not in ALIGNED_BY or not plain:
        raise RecipeError(
            'align = "bytes" compares what two tokenizers have in common: set [method] loss = "ranked" (by rank) or "top_k" (by '
            'token), source = "live", temperature = 1, and leave features and rollouts out.'
        )
    if recipe.student.kind in (*READERS, "seq2seq") or len(recipe.teacher.members) > 1:
        raise RecipeError('align = "bytes" is between one teacher and one student, both decoders (kind = "causal").')


def _check_several(recipe: Recipe, method: WhiteBox) -> None:
    """Of several teachers a mixture is made, row by row: each must say what it thinks of every score, and of the same ones."""
    if len(recipe.teacher.members) < 2 or method.source not in ("live", "cache", "mutual"):
        return
    if method.source == "mutual":
        raise RecipeError('source = "mutual" is between two networks, and [[teacher.members]] names several teachers. Keep one.')
    if method.features:
        raise RecipeError(
            "Inner states are compared with one teacher's, and [[teacher.members]] names several. Keep one of the two."
        )
    if method.source == "cache" and method.cache.tier in ("top_k", "sampled"):
        raise RecipeError(
            f'Several teachers are mixed score by score, and cache.tier = "{method.cache.tier}" keeps only some scores: set it '
            'to "hidden" (or "logits", for classifiers), or source = "live".'
        )
    if recipe.teacher.combine == "confidence" and recipe.student.config.get("objective") == "regression":
        raise RecipeError(
            'combine = "confidence" weighs teachers by how probable they find an answer, and a number has no probability: set '
            '[teacher] combine = "weight" or "task".'
        )


def _check_kind(recipe: Recipe, method: Method) -> None:
    kind = recipe.student.kind
    if isinstance(method, WhiteBox) and method.rollouts is not None and kind in (*READERS, "seq2seq"):
        raise RecipeError(f"[method.rollouts] is for decoders, and the student is of kind '{kind}'. Leave it out.")
    if isinstance(method, Preference) and kind in READERS:
        raise RecipeError(
            f"Pairs of answers teach a student that writes, and one of kind '{kind}' gives labels: set [method] kind to "
            '"black-box".'
        )
    if recipe.training.pack and kind in (*READERS, "seq2seq"):
        raise RecipeError(f"[training] pack is for decoders, and a student of kind '{kind}' is none. Leave it out.")


def _check_peer(recipe: Recipe, method: WhiteBox) -> None:
    """Two networks that begin alike and read the same batches have nothing to tell each other."""
    student, teacher = recipe.student, recipe.teacher
    named = teacher.model or teacher.recipe or teacher.members
    if method.source == "mutual" and not named and student.base and not student.adapter and student.kind not in READERS:
        raise RecipeError(
            'source = "mutual" without a [teacher]: the peer would begin with the same weights, those of [student] base. Name '
            "another model as [teacher] model, add a [student.adapter], or start from scratch with [student.config]."
        )


def _check_student(recipe: Recipe) -> None:
    """What is wrong with its options, and with where it starts."""
    from stillhouse.students.options import EncoderOptions, ReadingOptions, read_options

    student = recipe.student
    if student.kind in READERS:
        read_options(EncoderOptions if student.kind == "encoder" else ReadingOptions, student.config)
    if student.init is not None and (student.base is not None or student.tokenizer is not None):
        raise RecipeError("[student.init] takes weights and tokenizer from the teacher: leave [student] base and tokenizer out.")

"""Whether the teacher can give what the recipe asks for: found before any compute, with a word on what would work.

Files are looked at, weights are not loaded.
"""

from __future__ import annotations

from pathlib import Path

from stillhouse.artifacts import MANIFEST, load_manifest
from stillhouse.errors import RecipeError
from stillhouse.features import FEATURES
from stillhouse.losses import LOSSES
from stillhouse.method import Method, Preference, WhiteBox
from stillhouse.recipe import Recipe
from stillhouse.signal import GIVES, Signal
from stillhouse.training.base import Job
from stillhouse.training.combinations import check_combinations

_OF_THE_EXAMPLES = ("kind", "rationale", "rationale_weight", "answer_weight", "step_by_step", "rollouts")
LOCAL = ("live", "cache")
"""Sources that need a teacher's weights."""


def check_needs(recipe: Recipe, *, local: bool) -> None:
    """Raises RecipeError for the first thing that the recipe's teacher cannot give. `local`: its weights lie on this machine."""
    check_combinations(recipe)
    for number, (_, method) in enumerate(recipe.methods(), start=1):
        _check_unchanged(recipe.method, method, number)
        _check_method(method, local)
        _check_one_teacher(recipe, method)


def needs_weights(recipe: Recipe) -> bool:
    """Whether some stage runs a teacher, or reads a cache that is made by running one."""
    return any(
        (isinstance(method, WhiteBox) and method.source in LOCAL)
        or (isinstance(method, Preference) and method.loss == "contrastive")
        for _, method in recipe.methods()
    )


def takes_weights(recipe: Recipe) -> bool:
    """Whether it would use a teacher's weights where there are some: also a peer that starts from them, and initialisation."""
    peers = any(isinstance(method, WhiteBox) and method.source == "mutual" for _, method in recipe.methods())
    return needs_weights(recipe) or peers or recipe.student.init is not None


def teacher_folders(job: Job) -> tuple[Path, ...]:
    """The local teachers, one or several."""
    return job.member_folders or (() if job.teacher_folder is None else (job.teacher_folder,))


def kind_of(folder: Path, default: str) -> str:
    """The kind of student a model folder holds: what its manifest says, or `default` where it has none."""
    return load_manifest(folder).kind if (folder / MANIFEST).is_file() else default


def _check_method(method: Method, local: bool) -> None:
    if isinstance(method, Preference) and method.loss == "contrastive" and not local:
        raise RecipeError('The contrastive loss needs its teacher\'s weights: set [teacher] model, or [method] loss = "dpo".')
    if not isinstance(method, WhiteBox):
        return
    if method.loss == "none" and method.weight == 1 and not method.features:
        raise RecipeError(
            'With loss = "none", weight = 1 and no features, nothing is minimised: name a loss or a [[method.features]], or set '
            "a lower weight, which leaves 1 - weight for cross-entropy."
        )
    if method.source in LOCAL and not local:
        raise RecipeError(
            "A white-box method needs the weights of its teacher: set [teacher] model to a local model of the student's kind, or "
            '[method] kind = "black-box" for a teacher that only answers. (source = "api" learns from the log-probabilities that '
            'came with its answers; "ema" and "mutual" need no teacher.)'
        )
    _check_temperature(method)
    _check_rollouts(method, local)
    for what, needed in _needed(method):
        if needed not in _given(method):
            raise RecipeError(_refusal(method, what, needed))


def _check_temperature(method: WhiteBox) -> None:
    """What was said at one temperature cannot be made what it would be at another: the sum over all tokens is not there."""
    if method.source == "api" and {method.temperature, method.temperature_end or method.temperature} != {1.0}:
        raise RecipeError(
            "An API's log-probabilities are at temperature 1: set [method] temperature = 1 and leave temperature_end out."
        )


def _check_rollouts(method: WhiteBox, local: bool) -> None:
    if method.rollouts is None:
        return
    if method.source in ("cache", "api"):
        raise RecipeError(
            f'Rollouts are new texts every time, and source = "{method.source}" knows old ones only: set it to "live".'
        )
    if method.loss in ("none", "cross_entropy"):
        raise RecipeError(
            f'The student\'s own answers are not right or wrong, so loss = "{method.loss}" teaches nothing there: name a '
            'divergence ("reverse_kl", "jensen_shannon", ...), or leave [method.rollouts] out.'
        )
    if method.rollouts.mix > 0 and not local:
        raise RecipeError(
            f"[method.rollouts] mix = {method.rollouts.mix} draws from the teacher too: set [teacher] model to a local one, or "
            "mix = 0."
        )


def _check_unchanged(whole: Method, method: Method, number: int) -> None:
    """A stage changes what is minimised. What the run's examples are made of is one for all stages."""
    fixed = (*_OF_THE_EXAMPLES, *(("loss",) if isinstance(method, Preference) else ()))
    for name in fixed:
        if getattr(whole, name, None) != getattr(method, name, None):
            raise RecipeError(f"[[stages]] number {number} changes {name}, which is the whole run's: set it in [method] alone.")


def _check_one_teacher(recipe: Recipe, method: Method) -> None:
    """Where one teacher's weights are used, a second one must not be left out silently."""
    contrastive = isinstance(method, Preference) and method.loss == "contrastive"
    mixed = isinstance(method, WhiteBox) and method.rollouts is not None and method.rollouts.mix > 0
    if len(recipe.teacher.members) > 1 and (contrastive or mixed):
        what = "The contrastive loss" if contrastive else "[method.rollouts] mix"
        raise RecipeError(f"{what} takes one teacher, and [[teacher.members]] names {len(recipe.teacher.members)}. Keep one.")


def _needed(method: WhiteBox) -> list[tuple[str, Signal]]:
    """(what needs it, the signal)."""
    loss: list[tuple[str, Signal]] = []
    if method.loss != "none":
        loss = [(f"The loss '{method.loss}'", LOSSES.resolve(method.loss).needs)]
    if method.temperature_by == "token":
        loss.append(('temperature_by = "token"', "logits"))
    for feature in method.features:
        FEATURES.resolve(feature.loss)
        loss.append((f"The feature '{feature.loss}'", "states"))
    return loss


def _given(method: WhiteBox) -> frozenset[Signal]:
    if method.source == "cache":
        states: frozenset[Signal] = frozenset({"states"}) if method.cache.states else frozenset()
        return GIVES[method.cache.tier] | states
    return GIVES["api" if method.source == "api" else "live"]


def _refusal(method: WhiteBox, what: str, needed: Signal) -> str:
    where = f'a cache of tier "{method.cache.tier}"' if method.source == "cache" else "an API"
    given = ", ".join(sorted(_given(method)))
    works = sorted(name for name in LOSSES.names() if LOSSES.resolve(name).needs in _given(method) and name != "cross_entropy")
    if needed == "states":
        remedy = 'Set [method] source = "live" with a local teacher' + (
            ", or cache.states = true." if method.source == "cache" else "."
        )
    else:
        remedy = f'Losses that work there: {", ".join(works)}. Or set [method] source = "live" with a local teacher.'
    return f"{what} needs {needed}, and {where} gives {given}. {remedy}"

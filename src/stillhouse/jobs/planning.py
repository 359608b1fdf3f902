"""A training run before it exists: everything that can be known to go wrong is found here, before any compute is spent.

Recipe, data, terms of service, what the teacher can give, where the base lies. What comes out is a `Run` whose spec is whole:
the worker needs nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from stillhouse.artifact import Artifact
from stillhouse.artifacts import MANIFEST, load_manifest
from stillhouse.dataset import Dataset, strictest
from stillhouse.errors import MissingExtraError, PermissionRefusedError, RecipeError, TrainingError
from stillhouse.formats.examples import read_examples
from stillhouse.jobs import queue
from stillhouse.method import BlackBox, Preference, WhiteBox
from stillhouse.recipe import Recipe
from stillhouse.run import Run
from stillhouse.training import TRAINERS
from stillhouse.training.needs import check_needs, needs_weights, takes_weights
from stillhouse.workspace import PACKAGE, Workspace

_NETWORK = (("torch", "train"), ("transformers", "train"))
NEEDS = {
    **dict.fromkeys(("causal", "encoder", "seq2seq", "static"), _NETWORK),
    "linear": (("sklearn", "classic"), ("skops", "classic")),
}
"""Student kind -> modules and the extra they come with; looked for without importing them."""
WHOLE = ("linear", "static")
"""Students that are always trained whole."""


def plan_training(workspace: Workspace, recipe: Recipe, dataset: Dataset, *, allow: Sequence[str] = ()) -> Run:
    """A queued run of `recipe` on `dataset`; `allow` adds to the upstreams whose terms are overridden by name.

    Raises RecipeError, MissingExtraError, NotFoundError, PermissionRefusedError, TrainingError (nothing to learn from).
    """
    allowed = tuple(dict.fromkeys((*recipe.teacher.allow_training, *allow)))
    recipe = recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"allow_training": allowed})})
    check_recipe(recipe)
    terms = dataset.may_train
    for teacher in check_folders(workspace, recipe):
        terms = strictest(terms, teacher.may_train)
    overridden = check_terms(terms, allowed)
    check_examples(workspace, recipe, dataset)
    keep_log_probabilities(workspace, recipe, dataset)
    spec = {"recipe": recipe.model_dump(mode="json"), "dataset": dataset.fingerprint, "overridden": list(overridden)}
    return queue.planned("train", recipe.name, spec, steps=recipe.training.steps)


def with_entered(workspace: Workspace, recipe: Recipe) -> Recipe:
    """The recipe with teachers that are plain folders or packages entered as models, as `stillhouse models add` does it."""

    def known(name: str) -> str:
        folder = Path(name)
        plain = name.startswith(PACKAGE) or ((folder / "config.json").is_file() and not (folder / MANIFEST).is_file())
        return workspace.add_model(workspace.model_folder(name)).id if plain else name

    teacher = recipe.teacher
    members = tuple(member.model_copy(update={"model": known(member.model)}) for member in teacher.members)
    model = teacher.model if teacher.model is None else known(teacher.model)
    return recipe.model_copy(update={"teacher": teacher.model_copy(update={"model": model, "members": members})})


def check_recipe(recipe: Recipe) -> None:
    """What can be said of a recipe alone, its teacher perhaps still to be trained. Raises RecipeError, MissingExtraError."""
    check_kind(recipe)
    check_length(recipe)
    teacher = recipe.teacher
    if teacher.members and (teacher.model is not None or teacher.recipe is not None):
        one = "model" if teacher.model is not None else "recipe"
        raise RecipeError(f"[teacher] names a {one} and several members: keep one of the two.")
    if recipe.student.kind == "linear":
        other = [method.kind for _, method in recipe.methods() if not isinstance(method, BlackBox)]
        if other:
            raise RecipeError(f'A linear student learns from labels alone, not by "{other[0]}": set [method] kind = "black-box".')
        if recipe.student.init is not None or recipe.student.base is not None:
            raise RecipeError("A linear student starts from nothing: leave [student] base and [student.init] out.")
        return
    named = bool(teacher.model or teacher.members or teacher.recipe)
    check_needs(recipe, local=named)
    if recipe.student.init is not None and not named:
        raise RecipeError("[student.init] takes weights over from a teacher: set [teacher] model to a local model.")


def check_kind(recipe: Recipe) -> None:
    """The student's kind is known, what it needs is installed, and it can take an adapter where one is asked for."""
    kind = recipe.student.kind
    if kind not in TRAINERS.names():
        raise RecipeError(f"[student] kind = '{kind}': there is no such kind. There are: {', '.join(TRAINERS.names())}.")
    for module, extra in NEEDS.get(kind, ()):
        if find_spec(module) is None:
            raise MissingExtraError(f"A student of kind '{kind}'", module, extra)
    adapter = recipe.student.adapter
    if adapter is not None and kind in WHOLE:
        raise RecipeError(f"[student.adapter] goes into a transformers network, and a student of kind '{kind}' has none.")
    for module, extra in () if adapter is None else (("peft", "train"), *((("bitsandbytes", "qlora"),) if adapter.bits else ())):
        if find_spec(module) is None:
            raise MissingExtraError("[student.adapter]", module, extra)


def check_length(recipe: Recipe) -> None:
    """A network is trained for a number of steps or of epochs; a linear student has neither."""
    training = recipe.training
    if recipe.student.kind != "linear" and (training.steps is None) == (training.epochs is None):
        got = "neither" if training.steps is None else f"both (steps = {training.steps}, epochs = {training.epochs:g})"
        raise RecipeError(f"[training] needs one of steps and epochs, and the recipe has {got}. Write e.g. steps = 600.")


def check_terms(terms: Mapping[str, str], allowed: Sequence[str]) -> tuple[str, ...]:
    """The upstreams whose terms forbid training and were overridden by name. Raises PermissionRefusedError for any other.

    `terms`: of the dataset's answers and of those that a teacher whose scores are learned from was itself trained on.
    """
    forbidden = {upstream: flag for upstream, flag in terms.items() if flag != "yes"}
    refused = {upstream: flag for upstream, flag in forbidden.items() if upstream not in allowed}
    if refused:
        reasons = "; ".join(f"{upstream}: {flag}" for upstream, flag in sorted(refused.items()))
        override = " ".join(f"--allow-training {upstream}" for upstream in sorted(refused))
        raise PermissionRefusedError(
            f"The dataset holds answers of teachers, or the teacher was trained on answers, whose terms forbid training on them "
            f"({reasons}). Do without them, or, if you may, override by name: {override}"
        )
    return tuple(sorted(forbidden))


def check_folders(workspace: Workspace, recipe: Recipe) -> list[Artifact]:
    """Base, tokenizer and teachers are where the recipe says, teachers whose weights are needed on this machine.

    Returns the manifests of the teachers whose weights are learned from; none where only answers are.
    """
    for name in (recipe.student.base, recipe.student.tokenizer):
        if name:
            workspace.model_folder(name)
    names = teacher_names(recipe)
    if recipe.student.kind == "linear" or not takes_weights(recipe):
        return []
    if needs_weights(recipe):
        _refuse_remote(workspace, names)
    return [load_manifest(workspace.model_folder(name)) for name in names]


def untaught_labels(workspace: Workspace, recipe: Recipe, dataset: Dataset) -> str:
    """A word on labels that the test split asks for and the train split never has; empty where there are none, or no labels."""
    student = recipe.student
    if student.kind not in ("linear", "encoder", "static") or student.config.get("objective") in ("regression", "tokens"):
        return ""
    folder = workspace.dataset_folder(dataset.fingerprint)
    taught = {example.answer.strip() for example in read_examples(folder, "train")}
    asked = [example.reference or example.answer for example in read_examples(folder, "test")]
    unknown = [label for label in asked if label.strip() not in taught]
    if not unknown:
        return ""
    named = ", ".join(sorted({label[:40] for label in unknown})[:5])
    return (
        f"{len(unknown)} of {len(asked)} test rows ask for labels that no training row has; no student is right there: {named}."
    )


def keep_log_probabilities(workspace: Workspace, recipe: Recipe, dataset: Dataset) -> None:
    """Where a method learns from an API's log-probabilities, those that were captured with the answers are kept for it.

    Raises NotFoundError where there are none, UsageError and RecipeError where nobody can tell whose tokens they are.
    """
    if any(isinstance(method, WhiteBox) and method.source == "api" for _, method in recipe.methods()):
        from stillhouse.jobs.signals import keep_captured, labelled_before

        if not labelled_before(workspace, dataset):
            keep_captured(workspace, dataset)


def teacher_names(recipe: Recipe) -> tuple[str, ...]:
    """The recipe's teachers, one or several. Raises RecipeError where there is only a recipe of one."""
    teacher = recipe.teacher
    if teacher.recipe is not None and teacher.model is None and not teacher.members:
        raise RecipeError(
            f"[teacher] recipe = '{teacher.recipe}' trains the teacher first: stillhouse distill does it, or do it yourself "
            "(stillhouse train run) and say --set teacher.model=ID."
        )
    return (teacher.model,) if teacher.model is not None else tuple(member.model for member in teacher.members)


def _refuse_remote(workspace: Workspace, names: Sequence[str]) -> None:
    remote = {model for upstream in workspace.store.upstreams() for model in upstream.models}
    for name in names:
        if name in remote:
            raise RecipeError(
                f"white-box needs logits, and '{name}' is behind an API that gives text. Use a local teacher, or "
                'method.source = "api" with a loss that learns from top log-probabilities (top_k), or method.kind = "black-box".'
            )


def check_examples(workspace: Workspace, recipe: Recipe, dataset: Dataset) -> None:
    """There is something to learn, no row without an answer, and pairs for a method that compares."""
    examples = read_examples(workspace.dataset_folder(dataset.fingerprint), "train")
    if not examples:
        left_out = f" Left out: {dataset.removed}." if dataset.removed else ""
        raise TrainingError(f"The dataset {dataset.name} has no example in its train split: {dataset.counts}.{left_out}")
    empty = [example.id for example in examples if not example.answer.strip()]
    if empty:
        raise TrainingError(
            f"{len(empty)} of {len(examples)} training examples have an empty answer, {empty[0]} among them: "
            "there would be no token to learn from. Remove them from the dataset."
        )
    compares = any(isinstance(method, Preference) for _, method in recipe.methods())
    if compares and all(example.rejected in (None, example.answer) for example in examples):
        raise RecipeError(
            f'[method] kind = "preference" compares a better and a worse answer, and no training example of {len(examples)} has '
            "a worse answer. Import pairs: stillhouse dataset import NAME FILE --format openai_preference"
        )

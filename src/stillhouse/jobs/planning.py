"""A training run before it exists: everything that can be known to go wrong is found here, before any compute is spent.

Recipe, data, terms of service, what the teacher can give, where the base lies. What comes out is a `Run` whose spec is whole:
the worker needs nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from stillhouse.artifact import Artifact
from stillhouse.artifacts import load_manifest
from stillhouse.dataset import Dataset, strictest
from stillhouse.errors import MissingExtraError, PermissionRefusedError, RecipeError, TrainingError
from stillhouse.formats.examples import read_examples
from stillhouse.ids import new_id
from stillhouse.method import WhiteBox
from stillhouse.recipe import Recipe
from stillhouse.run import Run
from stillhouse.training import TRAINERS
from stillhouse.workspace import Workspace

NEEDS = {"causal": (("torch", "train"), ("transformers", "train")), "linear": (("sklearn", "classic"), ("skops", "classic"))}
"""Student kind -> modules and the extra they come with; looked for without importing them."""


def plan_training(workspace: Workspace, recipe: Recipe, dataset: Dataset, *, allow: Sequence[str] = ()) -> Run:
    """A queued run of `recipe` on `dataset`; `allow` adds to the upstreams whose terms are overridden by name.

    Raises RecipeError, MissingExtraError, NotFoundError, PermissionRefusedError, TrainingError (nothing to learn from).
    """
    allowed = tuple(dict.fromkeys((*recipe.teacher.allow_training, *allow)))
    recipe = recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"allow_training": allowed})})
    check_kind(recipe)
    check_length(recipe)
    teacher = check_folders(workspace, recipe)
    terms = dataset.may_train if teacher is None else strictest(dataset.may_train, teacher.may_train)
    overridden = check_terms(terms, allowed)
    check_examples(workspace, dataset)
    return Run(
        id=new_id("run"),
        kind="train",
        name=recipe.name,
        state="queued",
        created=int(time.time()),
        heartbeat=time.time(),
        spec={"recipe": recipe.model_dump(mode="json"), "dataset": dataset.fingerprint, "overridden": list(overridden)},
        steps=recipe.training.steps,
    )


def check_kind(recipe: Recipe) -> None:
    """The student's kind is known, and what it needs is installed."""
    kind = recipe.student.kind
    if kind not in TRAINERS.names():
        raise RecipeError(f"[student] kind = '{kind}': there is no such kind. There are: {', '.join(TRAINERS.names())}.")
    for module, extra in NEEDS.get(kind, ()):
        if find_spec(module) is None:
            raise MissingExtraError(f"A student of kind '{kind}'", module, extra)


def check_length(recipe: Recipe) -> None:
    """A network is trained for a number of steps or of epochs; a linear student has neither."""
    training = recipe.training
    if recipe.student.kind == "causal" and (training.steps is None) == (training.epochs is None):
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


def check_folders(workspace: Workspace, recipe: Recipe) -> Artifact | None:
    """Base, tokenizer and teacher are where the recipe says, and the teacher can give what the method needs.

    Returns the manifest of a teacher whose scores are learned from; None where only answers are.
    """
    for name in (recipe.student.base, recipe.student.tokenizer):
        if name:
            workspace.model_folder(name)
    if not isinstance(recipe.method, WhiteBox):
        return None
    if recipe.student.kind != "causal":
        raise RecipeError(f"white-box needs a student with token scores; '{recipe.student.kind}' has none. Use kind = 'causal'.")
    if recipe.teacher.model is None:
        raise RecipeError("white-box needs the teacher's logits: set [teacher] model to a local model (stillhouse models list).")
    if recipe.teacher.model in {model for upstream in workspace.store.upstreams() for model in upstream.models}:
        raise RecipeError(
            f"white-box needs logits, and '{recipe.teacher.model}' is behind an API that gives text. "
            "Use a local teacher, or method = black-box."
        )
    teacher = load_manifest(workspace.model_folder(recipe.teacher.model))
    if teacher.kind != "causal":
        raise RecipeError(f"white-box needs a teacher with token scores; '{recipe.teacher.model}' is of kind '{teacher.kind}'.")
    return teacher


def check_examples(workspace: Workspace, dataset: Dataset) -> None:
    """There is something to learn, and no row without an answer."""
    examples = read_examples(workspace.dataset_folder(dataset.fingerprint), "train")
    if not examples:
        raise TrainingError(f"The dataset {dataset.name} has no example in its train split: {dataset.counts}.")
    empty = [example.id for example in examples if not example.answer.strip()]
    if empty:
        raise TrainingError(
            f"{len(empty)} of {len(examples)} training examples have an empty answer, {empty[0]} among them: "
            "there would be no token to learn from. Remove them from the dataset."
        )

"""From a job's request to a recipe of the engine: what OpenAI's methods mean here, and the recipe's own tables as JSON.

Called twice: when a job is created, with an invented number of examples, so that what cannot work is refused before any compute;
and by its run, when the files have been read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from stillhouse.errors import NotFoundError, RecipeError
from stillhouse.finetuning.bases import Base, local_model, local_name
from stillhouse.finetuning.hyperparameters import Resolved, resolve
from stillhouse.finetuning.request import Distillation, JobRequest
from stillhouse.jobs.planning import teacher_names
from stillhouse.method import BlackBox
from stillhouse.recipe import Recipe
from stillhouse.records import problems_of
from stillhouse.training.needs import takes_weights
from stillhouse.workspace import Workspace

MAX_TOKENS = 1 << 17
"""Longest example; what a network has positions for is said by the network."""
SOURCES = {"live": "live", "cache": "cache", "logprobs": "api"}
"""`signal` -> the recipe's `method.source`."""
LOGPROBS = {"loss": "top_k", "temperature": 1.0}
"""What learns from an API's log-probabilities, where the method says nothing."""


class Wish:
    """A request, what its model stands for, and the names in it that recipes know."""

    def __init__(self, workspace: Workspace, request: JobRequest, base: Base, *, name: str, seed: int) -> None:
        self._workspace = workspace
        self._request = request
        self._base = base
        self._name = name
        self._seed = seed

    def recipe(self, examples: int) -> tuple[Recipe, Resolved]:
        """The recipe for so many training examples, and its numbers as the API shows them. Raises RecipeError, NotFoundError."""
        distillation = self._request.way.distillation if self._request.way.type == "distillation" else None
        tables = self._tables(distillation)
        gentle = self._request.way.type == "dpo"
        adapted = bool(tables["student"].get("adapter"))
        resolved = resolve(self._request.given, self._base, examples, adapted=adapted, gentle=gentle)
        tables["training"] = _training(resolved, examples, self._seed, distillation)
        try:
            recipe = Recipe.model_validate({"name": self._name, **tables})
        except ValidationError as exc:
            raise RecipeError(f"This cannot be trained as written. {problems_of(exc)}.") from exc
        self._check_weights(recipe)
        return recipe, _as_trained(recipe, resolved, examples)

    def _check_weights(self, recipe: Recipe) -> None:
        """Teachers whose weights are used are models that were entered here, not paths of the server."""
        for name in teacher_names(recipe) if takes_weights(recipe) else ():
            if local_model(self._workspace, name) is None:
                raise RecipeError(
                    f"The weights of the teacher '{name[:80]}' are not on this machine, and this method needs them: take a local "
                    "teacher, the signal 'logprobs' of answers that were captured with log-probabilities, or 'text'."
                )

    def _tables(self, distillation: Distillation | None) -> dict[str, Any]:
        if distillation is None:
            return {"student": dict(self._base.student), "method": self._openai_method()}
        teacher = self._teacher(distillation)
        method = self._method(distillation, teacher)
        student = {**self._base.student, **distillation.student}
        if "config" in distillation.student:
            student["config"] = {**self._base.student.get("config", {}), **distillation.student["config"]}
        if distillation.student.get("init") is not None:
            student.pop("base", None)
        self._name_tokenizer(student, distillation, method, teacher)
        if "base" in distillation.student:
            raise RecipeError("The base is the job's 'model': leave distillation.student.base out.")
        return {"teacher": teacher, "student": student, "method": method, "stages": distillation.stages}

    def _openai_method(self) -> dict[str, Any]:
        way = self._request.way
        if way.type != "dpo":
            return BlackBox().model_dump(mode="json")
        beta = "auto" if way.dpo is None else way.dpo.hyperparameters.beta
        return {"kind": "preference", "loss": "dpo", **({} if beta == "auto" else {"beta": beta})}

    def _teacher(self, wanted: Distillation) -> dict[str, Any]:
        """The `[teacher]` table with ids for names. A teacher that only answered needs not be here."""
        given = wanted.teacher
        table: dict[str, Any] = {"model": given} if isinstance(given, str) else dict(given or {})
        if table.get("recipe"):
            raise RecipeError("A teacher's own recipe is for the command line: fine-tune the teacher first, and name the result.")
        if isinstance(table.get("model"), str):
            local = local_model(self._workspace, table["model"])
            table["model"] = table["model"] if local is None else local[0]
            if local is None and not self._answers(table["model"]):
                raise NotFoundError(f"The teacher '{table['model'][:80]}' does not exist. See what there is: GET /v1/models")
        if isinstance(table.get("members"), list | tuple):
            table["members"] = [self._member(member) for member in table["members"]]
        return table

    def _member(self, member: Any) -> Any:
        if isinstance(member, Mapping) and isinstance(member.get("model"), str):
            return {**member, "model": local_name(self._workspace, member["model"], "teacher")}
        return member

    def _answers(self, name: str) -> bool:
        upstreams = self._workspace.store.upstreams()
        return any(name in upstream.models or not upstream.models for upstream in upstreams)

    def _method(self, wanted: Distillation, teacher: Mapping[str, Any]) -> dict[str, Any]:
        method, signal = dict(wanted.method), wanted.signal
        if signal is None and "kind" not in method and "source" not in method:
            named = teacher.get("model")
            here = bool(teacher.get("members")) or (isinstance(named, str) and local_model(self._workspace, named) is not None)
            signal = "live" if here and self._base.student["kind"] != "linear" else "text"
        if signal is None:
            return {"kind": "white-box", **method}
        if signal == "text":
            return {"kind": "black-box", **method}
        defaults = LOGPROBS if signal == "logprobs" else {}
        if method.get("source", SOURCES[signal]) != SOURCES[signal]:
            raise RecipeError(f"signal is '{signal}', and method.source '{method['source']}': keep one of the two.")
        return {"kind": "white-box", **defaults, **method, "source": SOURCES[signal]}

    def _name_tokenizer(
        self, student: dict[str, Any], wanted: Distillation, method: Mapping[str, Any], teacher: Mapping[str, Any]
    ) -> None:
        """From scratch, a student reads with its teacher's tokenizer wherever the teacher's scores are compared with its own."""
        given = wanted.student.get("tokenizer")
        if isinstance(given, str):
            student["tokenizer"] = local_name(self._workspace, given, "tokenizer's model")
        elif student.get("init") is not None:
            student.pop("tokenizer", None)
        elif not self._base.pretrained and student.get("tokenizer") and method["kind"] == "white-box":
            members = teacher.get("members") or ()
            named = teacher.get("model") or (members[0].get("model") if members else None)
            local = local_model(self._workspace, named) if isinstance(named, str) else None
            if local is not None and local[1].kind == student["kind"] and method.get("align") != "bytes":
                student["tokenizer"] = local[0]


def steps_per_epoch(recipe: Recipe, examples: int) -> int:
    """Optimizer steps that see every example once."""
    return max(1, math.ceil(examples / (recipe.training.batch_size * recipe.training.accumulate)))


def _training(resolved: Resolved, examples: int, seed: int, distillation: Distillation | None) -> dict[str, Any]:
    """The `[training]` table: what was asked for, and around it what suits so many examples."""
    given = {} if distillation is None else dict(distillation.training)
    if {"steps", "epochs"} & given.keys() and distillation is not None and distillation.hyperparameters.n_epochs != "auto":
        raise RecipeError("training.steps or training.epochs, and hyperparameters.n_epochs, say how long to train: keep one.")
    length = {} if {"steps", "epochs"} & given.keys() else {"epochs": resolved.n_epochs}
    epoch = max(1, math.ceil(examples / resolved.batch_size))
    table = {
        "batch_size": resolved.batch_size,
        "learning_rate": resolved.learning_rate,
        "max_tokens": MAX_TOKENS,
        "checkpoint_every": min(100, epoch),
        "evaluate_every": min(100, epoch),
        "seed": seed,
    }
    return {**table, **length, **given}


def _as_trained(recipe: Recipe, resolved: Resolved, examples: int) -> Resolved:
    """The numbers that the recipe ended up with, whoever gave them."""
    training = recipe.training
    if recipe.student.kind == "linear":
        return resolved.model_copy(update={"batch_size": max(examples, 1), "n_epochs": 1, "learning_rate_multiplier": 1.0})
    epochs = training.epochs if training.epochs is not None else (training.steps or 0) / steps_per_epoch(recipe, examples)
    return resolved.model_copy(
        update={
            "batch_size": training.batch_size * training.accumulate,
            "n_epochs": max(1, round(epochs)),
            "learning_rate_multiplier": training.learning_rate / resolved.base_learning_rate,
        }
    )

"""The work folder of the encoders: data, teachers and students are made when they are first asked for, and found there later."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from stillhouse.formats.examples import write_dataset_folder
from stillhouse.recipe import Recipe
from stillhouse.training import train
from stillhouse.workspace import package_folder
from teaching.encoder_data import examples_of, with_families
from teaching.encoder_figures import measure
from teaching.encoder_methods import ASSISTANT, BASE, BASELINE, METHODS, STUDENT
from teaching.progress import say


class Teachers(NamedTuple):
    """Who teaches a trial: one, several, or nobody."""

    one: Path | None = None
    members: tuple[Path, ...] = ()


class Bench:
    """The work folder: data, teachers and students are made when they are first asked for, and found there later."""

    def __init__(self, work: Path, options: argparse.Namespace) -> None:
        self.work = work
        self._options = options
        self._base = package_folder(BASE)

    def data(self, name: str = "plain") -> Path:
        folder = self.work / f"{name}-{self._options.examples}"
        if not folder.exists():
            examples = examples_of(self._options.examples)
            write_dataset_folder(folder, examples if name == "plain" else with_families(examples), name="banking77")
        return folder

    def teacher(self, seed: int = 0, data: str = "plain", **config: Any) -> Path:
        """Fine-tuned from the package's weights."""
        student = {"kind": "encoder", "base": str(self._base), "config": {"max_length": 128, **config}}
        epochs = self._options.teacher_epochs / (1 if data == "plain" else 2)  # two tasks: each text comes twice
        training = {"epochs": epochs, "learning_rate": 3e-4, "seed": seed, "frozen": ["*word_embeddings*"]}
        plan = self._recipe(student, training, method={"kind": "black-box"})
        place = self.work / f"teacher-{data}-{seed}-{self._options.teacher_epochs:g}-{self._options.examples}"
        return _trained(train(plan, self.data(data), place, report=say("teacher"), base_folder=self._base))

    def trial(self, name: str, seed: int) -> dict[str, Any]:
        """A student's figures."""
        teachers = self._teachers(METHODS[name].get("teacher", "one"), seed)
        began = time.monotonic()
        folder = self._student(name, seed, teachers)
        seconds = round(time.monotonic() - began, 1)
        return {"method": name, "seed": seed, **measure(folder, self.teacher(), self.data()), "seconds": seconds}

    def _student(self, name: str, seed: int, teachers: Teachers) -> Path:
        parts = json.loads(json.dumps(METHODS[name]))
        names = [{"model": f"teacher {number}"} for number, _ in enumerate(teachers.members)]
        said = {"members": names, "combine": parts.get("combine", "weight")} if names else {"model": str(teachers.one)}
        plan = self._recipe(
            parts.get("student", {"kind": "encoder", "config": STUDENT}),
            {"steps": self._options.steps, "seed": seed, **parts.get("training", {})},
            method=parts["method"],
            stages=parts.get("stages", []),
            teacher=said if teachers != Teachers() else {},
        )
        return self._run(name, seed, plan, self.data(parts.get("data", "plain")), teachers)

    def _run(self, name: str, seed: int, plan: Recipe, data: Path, teachers: Teachers) -> Path:
        runs = self.work / f"run-{self._options.steps}-{self._options.examples}-{self._options.teacher_epochs:g}"
        place = runs / f"{name.replace(' ', '-')}-{seed}"
        signals = self.work / "signals"
        report = say(name)
        folder = train(
            plan,
            data,
            place,
            report=report,
            teacher_folder=teachers.one,
            member_folders=teachers.members,
            signals_folder=signals,
            base_folder=self._base if plan.student.base else None,
        )
        return _trained(folder)

    def _teachers(self, which: str | None, seed: int) -> Teachers:
        """two: another seed's beside the first. assistant: of a size between the two, itself taught. heads: one that learnt both
        tasks. itself: the student that learnt from the labels alone."""
        if which is None:
            return Teachers()
        if which == "two":
            return Teachers(members=(self.teacher(), self.teacher(seed=1)))
        if which == "assistant":
            training = {"steps": self._options.steps, "seed": seed}
            said = {"method": {"kind": "white-box", "weight": 1.0}, "teacher": {"model": "teacher"}}
            plan = self._recipe({"kind": "encoder", "config": ASSISTANT}, training, **said)
            return Teachers(self._run("assistant", seed, plan, self.data(), Teachers(self.teacher())))
        if which == "heads":
            return Teachers(self.teacher(data="tasks", heads="task"))
        return Teachers(self._student(BASELINE, seed, Teachers(self.teacher())) if which == "itself" else self.teacher())

    def _recipe(self, student: dict[str, Any], training: dict[str, Any], **parts: Any) -> Recipe:
        """With the tokenizer of the teacher, for those that do not have it already."""
        if student["kind"] != "linear" and "base" not in student and "init" not in student:
            student = {**student, "tokenizer": str(self._base)}
        if parts["method"].get("kind") != "black-box":
            parts["method"] = {"kind": "white-box", "weight": 1.0, **parts["method"]}
        often = {"evaluate_every": 10**6, "checkpoint_every": 10**6}
        shared = {"batch_size": 32, "learning_rate": 1e-3, "precision": "auto", "threads": self._options.threads, **often}
        return Recipe.model_validate({"name": "encoders", "student": student, "training": {**shared, **training}, **parts})


def _trained(folder: Path | None) -> Path:
    assert folder is not None
    return folder

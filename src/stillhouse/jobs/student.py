"""One training run's work: names become folders, progress becomes events, the student becomes a registered artifact.

`train()` knows neither names nor store; here is where both sides meet. Everything is safe to repeat after a crash: the artifact's
id comes from the run's, a finished student is not trained twice, a registered one not registered twice.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse import __version__
from stillhouse.artifact import Artifact
from stillhouse.artifacts import MANIFEST, load_manifest
from stillhouse.dataset import Dataset
from stillhouse.files import finish_directory
from stillhouse.formats.examples import read_manifest
from stillhouse.jobs.claim import Claim, answer
from stillhouse.jobs.planning import teacher_names
from stillhouse.jobs.reporting import reporting
from stillhouse.recipe import Recipe
from stillhouse.run import Run
from stillhouse.settings import Settings
from stillhouse.training import Progress, train
from stillhouse.training.base import EPOCHS
from stillhouse.training.needs import takes_weights
from stillhouse.workspace import Workspace, dataset_folder

PATIENCE_SECONDS = 300.0


def work(settings: Settings, run: Run, claim: Claim) -> dict[str, Any] | None:
    """Train what `run.spec` says: `{"artifact": ID}`, None when it was asked to stop. Raises what `train` raises.

    With `keep_epochs` in it, the student of so many last epochs is entered, too, as soon as it is there.
    """
    recipe = Recipe.model_validate(run.spec["recipe"])
    data = dataset_folder(settings, str(run.spec["dataset"]))
    folders, recipe = resolve_folders(settings, recipe)

    def report(progress: Progress) -> None:
        claim.journal.append(progress.message, step=progress.step, metrics=progress.metrics)
        claim.progress(progress.step, progress.steps)
        if progress.metrics:
            tell(progress.step, progress.metrics)
            _enter_epoch(settings, run, claim, progress.step)

    with reporting(settings, run, claim) as tell:
        student = train(
            recipe,
            data,
            settings.runs / run.id,
            report=report,
            should_stop=lambda: claim.should_stop,
            teacher_folder=next(iter(folders.teachers), None),
            member_folders=folders.teachers if recipe.teacher.members else (),
            base_folder=folders.base,
            signals_folder=settings.signals,
            keep_epochs=int(run.spec.get("keep_epochs", 0)),
        )
    if student is None:
        return None
    artifact = _enter(settings, run, claim, student)
    claim.journal.append(f"The student is {artifact.id}.")
    return {"artifact": artifact.id}


def _enter_epoch(settings: Settings, run: Run, claim: Claim, step: int) -> None:
    """The student as it is now, where the trainer has kept it."""
    folder = settings.runs / run.id / EPOCHS / f"step-{step}"
    if (folder / MANIFEST).is_file():
        artifact = _enter(settings, run, claim, folder, mark=f"step-{step}")
        claim.journal.append(f"Checkpoint created at step {step}: {artifact.name}", step=step)


def _enter(settings: Settings, run: Run, claim: Claim, folder: Path, *, mark: str = "") -> Artifact:
    """Publish and register a student of the run; nothing where the run is somebody else's by now. Raises FencedError."""
    claim.insist(claim.flush, PATIENCE_SECONDS)
    artifact = publish(folder, settings, run, read_manifest(dataset_folder(settings, str(run.spec["dataset"]))), mark=mark)
    claim.insist(lambda store: answer(store.put_artifact(artifact)), PATIENCE_SECONDS)
    return artifact


@dataclass(frozen=True)
class Folders:
    """Where a recipe's models lie."""

    teachers: tuple[Path, ...]
    """Whose weights are learned from: one, or several in the recipe's order."""
    base: Path | None


def resolve_folders(settings: Settings, recipe: Recipe) -> tuple[Folders, Recipe]:
    """The folders, and the recipe with its tokenizer as a folder. Raises NotFoundError for a model that is not there."""
    workspace = Workspace(settings)
    try:
        names = teacher_names(recipe) if takes_weights(recipe) else ()
        teachers = tuple(workspace.model_folder(name) for name in names)
        base = workspace.model_folder(recipe.student.base) if recipe.student.base else None
        if recipe.student.tokenizer:
            tokenizer = str(workspace.model_folder(recipe.student.tokenizer))
            recipe = recipe.model_copy(update={"student": recipe.student.model_copy(update={"tokenizer": tokenizer})})
    finally:
        workspace.close()
    return Folders(teachers, base), recipe


def publish(student: Path, settings: Settings, run: Run, dataset: Dataset, *, mark: str = "") -> Artifact:
    """Copy a finished student to the artifacts' folder with the run's lineage; its manifest is written last.

    `mark`: of one that was kept on the way, `step-N`; it becomes part of its id and its name.
    """
    identifier = run.id.replace("run-", "student-", 1) + (f"-{mark}" if mark else "")
    target = settings.artifacts / identifier
    if (target / MANIFEST).exists():
        return load_manifest(target)
    made = load_manifest(student)
    artifact = made.model_copy(update={"id": identifier, **lineage(run, dataset)})
    if mark:
        artifact = artifact.model_copy(update={"name": f"{artifact.name}:ckpt-{mark}"})
    shutil.rmtree(target, ignore_errors=True)  # a copy that was cut off: it has no manifest
    shutil.copytree(student, target, ignore=shutil.ignore_patterns(MANIFEST))
    finish_directory(target, MANIFEST, artifact.json_bytes())
    return artifact


def lineage(run: Run, dataset: Dataset) -> dict[str, object]:
    """What only the face knows about a student: which run, data and teacher stand behind it. (`train` knows their terms.)"""
    recipe = Recipe.model_validate(run.spec["recipe"])
    teacher = recipe.teacher.model or next(iter(sorted(dataset.teachers, key=lambda model: -dataset.teachers[model])), None)
    return {
        "name": recipe.name,
        "run": run.id,
        "dataset": dataset.fingerprint,
        "teacher": teacher,
        "overridden": tuple(run.spec.get("overridden", ())),
        "recipe": run.spec["recipe"],
        "code_version": __version__,
    }

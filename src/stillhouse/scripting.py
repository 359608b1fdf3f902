"""The loop from Python: what `stillhouse distill` does, for notebooks and scripts. Names and files in, records out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillhouse.jobs.watch import follow
from stillhouse.loop import Distilled, Steps, with_data
from stillhouse.loop import distill as run_loop
from stillhouse.recipe import Recipe, changed, load_recipe
from stillhouse.settings import Settings
from stillhouse.students import STUDENTS
from stillhouse.workspace import Workspace

if TYPE_CHECKING:
    from stillhouse.run import Run
    from stillhouse.students.base import Student

PathName = str | os.PathLike[str]


def distill(
    recipe: PathName | Recipe,
    *,
    train: PathName | None = None,
    valid: PathName | None = None,
    test: PathName | None = None,
    dataset: str | None = None,
    changes: Sequence[str] | str = (),
    allow_training: Sequence[str] = (),
    data_dir: PathName | None = None,
    say: Callable[[str], None] | None = None,
) -> Distilled:
    """Data -> dataset -> (teacher ->) student -> report. Blocks until it is done.

    `recipe` is a TOML file or a Recipe; files or a dataset's name replace where it takes its data from; `changes` are like
    `["training.steps=50"]`. `data_dir` is where everything is kept, as on the command line. It may be called in a notebook.
    Raises StillhouseError.
    """
    changes = [changes] if isinstance(changes, str) else changes
    wanted = changed(recipe, changes) if isinstance(recipe, Recipe) else load_recipe(Path(recipe), changes)
    files = {"train": train, "valid": valid, "test": test}
    wanted = with_data(wanted, **{split: None if name is None else str(name) for split, name in files.items()}, dataset=dataset)
    workspace = Workspace(Settings.load(None if data_dir is None else Path(data_dir)))
    try:
        steps = Steps(wait=lambda run_id: _wait(workspace, run_id), say=say or (lambda text: None), allow=allow_training)
        return run_loop(workspace, wanted, steps)
    finally:
        workspace.close()


def load_student(model: str, *, data_dir: PathName | None = None) -> Student:
    """A trained model, ready to `answer`: by id, `builtin:NAME` or its folder. Raises NotFoundError, UsageError."""
    from stillhouse.artifacts import verify

    workspace = Workspace(Settings.load(None if data_dir is None else Path(data_dir)))
    try:
        folder = workspace.model_folder(model)
    finally:
        workspace.close()
    student: Student = STUDENTS.resolve(verify(folder).kind).load(folder)
    return student


def _wait(workspace: Workspace, run_id: str) -> Run:
    workspace.close()  # the worker writes from here on; following only reads
    last = None
    for run, _ in follow(lambda: workspace.store, run_id, workspace.settings):
        last = run
    assert last is not None
    return last

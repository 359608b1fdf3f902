"""Training: from a recipe and a dataset's folder to a student's folder. Knows neither store nor HTTP, so it runs anywhere.

Importing this module imports no torch; calling `train` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from stillhouse.recipe import Recipe
from stillhouse.registry import Table
from stillhouse.students import STUDENTS
from stillhouse.training.base import Job, Progress

TRAINERS = Table(
    "way of training the student kind",
    "training",
    {
        **dict.fromkeys(("causal", "encoder", "seq2seq", "static"), "stillhouse.training.trainer:train_network"),
        "linear": "stillhouse.training.fit:fit_linear",
    },
)
"""A third party's network student enters `train_network` here under its own name, or a way of its own."""

__all__ = ["TRAINERS", "Progress", "train"]


def train(
    recipe: Recipe,
    dataset_folder: Path,
    work: Path,
    *,
    report: Callable[[Progress], None],
    should_stop: Callable[[], bool] = lambda: False,
    teacher_folder: Path | None = None,
    base_folder: Path | None = None,
    member_folders: Sequence[Path] = (),
    signals_folder: Path | None = None,
    keep_epochs: int = 0,
) -> Path | None:
    """Train the recipe's student; returns `work/student`, its artifact's manifest written last, or None if asked to stop.

    Call it again with the same arguments to go on from the newest checkpoint in `work/checkpoints`, to the same weights as
    without the interruption; a finished student is returned as it is. `dataset_folder` is what `formats.examples` writes.
    `teacher_folder` and `base_folder` are folders of causal students; names are the caller's to look up. `keep_epochs`: the
    student is kept at the ends of the last so many epochs, too, in `work/epochs/step-N`; a linear one has none.

    Raises RecipeError for what cannot be run as written, PermissionRefusedError where a teacher's terms forbid training and
    the recipe does not override them by name, TrainingError where the run had to stop (NaN, an empty answer, a full disk).
    """
    work.mkdir(parents=True, exist_ok=True)
    members = tuple(member_folders)
    job = Job(
        recipe, dataset_folder, work, teacher_folder, base_folder, report, should_stop, members, signals_folder, keep_epochs
    )
    STUDENTS.resolve(recipe.student.kind)  # first, because its message lists the kinds
    way: Callable[[Job], Path | None] = TRAINERS.resolve(recipe.student.kind)
    return way(job)

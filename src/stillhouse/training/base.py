"""What every way of training takes and says, whatever the kind of student: `Job` in, `Progress` out. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stillhouse.recipe import Recipe
from stillhouse.records import Record

EPOCHS = "epochs"
"""Folder within `work`: the student at the ends of its last epochs, `step-N` each."""


class Progress(Record):
    """Something a training run said. After a resume, steps since the last checkpoint are said again, with equal metrics."""

    step: int
    """Optimizer steps done."""
    steps: int
    """Of how many."""
    metrics: dict[str, float] = {}
    """`train/loss`, `train/kd_loss`, `train/ce_loss` (nats per supervised token), `train/token_accuracy` (share of supervised
    tokens, or labels, that are the student's likeliest), `train/learning_rate`, `train/grad_norm`, `train/tokens` (so far; prompt
    and answer, padding excluded), `eval/loss` and `eval/token_accuracy` (on the valid split), `perf/tokens_per_second`."""
    message: str = ""


class StopRequestedError(Exception):
    """The run was asked to stop before its first step; what was done towards it is kept."""


@dataclass(frozen=True)
class Job:
    """One training run, from folders to a folder."""

    recipe: Recipe
    dataset_folder: Path
    work: Path
    """Holds `checkpoints/` while it runs and `student/` when it is done."""
    teacher_folder: Path | None
    """A local teacher, for white-box methods."""
    base_folder: Path | None
    """Pretrained weights to start from."""
    report: Callable[[Progress], None]
    should_stop: Callable[[], bool]
    """Asked once a step."""
    member_folders: tuple[Path, ...] = ()
    """Several local teachers, in the order of the recipe's `[[teacher.members]]`."""
    signals_folder: Path | None = None
    """Where the teacher's cache lies or is made. None: in `work`."""
    keep_epochs: int = 0
    """Of the last so many epochs the student is kept as it was at the end, each a model folder (`epoch_folder`)."""

    @property
    def student_folder(self) -> Path:
        return self.work / "student"

    def epoch_folder(self, step: int) -> Path:
        """The student at the end of an epoch, after `step` steps; its manifest written last."""
        return self.work / EPOCHS / f"step-{step}"

    @property
    def checkpoints_folder(self) -> Path:
        return self.work / "checkpoints"

"""A kind of student that is trained step by step, no faster than the test allows: a plug-in, as a third party would bring one.

The test writes how many steps may be done into `options["allowed"]`; each step is a checkpoint.
"""

from __future__ import annotations

import time
from pathlib import Path

from stillhouse.artifacts import write_manifest
from stillhouse.errors import TrainingError
from stillhouse.formats.examples import read_manifest
from stillhouse.training.base import Job, Progress


class ScriptedStudent:
    """Only its name is needed: nothing here answers."""

    kind = "scripted"


def train(job: Job) -> Path | None:
    """Does `steps` steps, or stops; `fail_at` makes it raise there."""
    options = job.recipe.student.config
    checkpoint = job.work / "checkpoints" / "step"
    checkpoint.parent.mkdir(exist_ok=True)
    step = int(checkpoint.read_text()) if checkpoint.exists() else 0
    print(f"scripted training from step {step}", flush=True)
    while step < options["steps"]:
        if job.should_stop():
            return None
        if step >= int(Path(options["allowed"]).read_text()):
            time.sleep(0.005)
            continue
        step += 1
        if step == options.get("fail_at"):
            raise TrainingError("the loss is not finite at step 3")
        checkpoint.write_text(str(step))
        job.report(Progress(step=step, steps=options["steps"], metrics={"train/loss": 1 / step}))
    student = job.work / "student"
    if not (student / "artifact.json").exists():
        student.mkdir(exist_ok=True)
        (student / "weights.json").write_text("[1, 2, 3]")
        dataset = read_manifest(job.dataset_folder)
        write_manifest(student, kind="scripted", parameters=3, dataset=dataset.fingerprint, may_train=dataset.may_train)
    return student

"""Before training: may these answers be trained on? After it: the student's folder, with a manifest that says what made it."""

from __future__ import annotations

from functools import reduce
from pathlib import Path

from stillhouse import __version__
from stillhouse.artifacts import MANIFEST, load_manifest, write_manifest
from stillhouse.dataset import Dataset, strictest
from stillhouse.errors import PermissionRefusedError, StoreError, TrainingError
from stillhouse.files import remove_drafts, whole_folder
from stillhouse.records import canonical_json, fingerprint
from stillhouse.students.base import Student
from stillhouse.training.base import Job
from stillhouse.training.caching import teacher_hash
from stillhouse.training.needs import takes_weights, teacher_folders


def check_terms(job: Job, dataset: Dataset) -> None:
    """Raises PermissionRefusedError where an upstream's terms forbid training and the recipe does not name it."""
    for upstream, answer in terms_of(job, dataset).items():
        if answer != "yes" and upstream not in job.recipe.teacher.allow_training:
            where = f"dataset {dataset.name} holds" if upstream in dataset.may_train else "teacher was trained on"
            raise PermissionRefusedError(
                f"The {where} answers of '{upstream}', whose terms forbid training on them ({answer}). "
                f'To do it all the same, name it in the recipe: [teacher] allow_training = ["{upstream}"].'
            )


def terms_of(job: Job, dataset: Dataset) -> dict[str, str]:
    """Upstream -> its terms: of the dataset's answers and of those behind every teacher whose scores or weights are used."""
    folders = teacher_folders(job) if takes_weights(job.recipe) else ()
    behind = [load_manifest(folder).may_train for folder in folders if (folder / MANIFEST).is_file()]
    return reduce(strictest, behind, dict(dataset.may_train))


def run_identity(job: Job, dataset: Dataset) -> str:
    """Hash of everything that decides the weights: a checkpoint of another run is not gone on with."""
    recipe = job.recipe
    neutral = {"checkpoint_every", "keep_checkpoints", "evaluate_every", "threads"}
    decisive = (
        recipe.student.json_bytes(),
        recipe.method.json_bytes(),
        *(stage.json_bytes() for stage in recipe.stages),
        recipe.training.model_copy(update=dict.fromkeys(neutral)).json_bytes(),
    )
    folders = teacher_folders(job)
    weights = [
        dict(load_manifest(folder).hashes) if (folder / MANIFEST).is_file() else {"weights": teacher_hash(folder)}
        for folder in folders
    ]
    taught = [canonical_json(recipe.teacher.model_dump(mode="json", include={"model", "members", "combine"}) | {"is": weights})]
    return fingerprint(*decisive, dataset.fingerprint.encode(), *(taught if takes_weights(recipe) else []))


def finished(job: Job) -> bool:
    """Whether the student is there already, whole."""
    remove_drafts(job.work)
    return (job.student_folder / MANIFEST).exists()


def write_student(job: Job, student: Student, dataset: Dataset, metrics: dict[str, float], folder: Path | None = None) -> Path:
    """Save `student` into `folder` (None: `work/student/`), all of it or nothing. Raises TrainingError when the disk refuses."""
    terms, folder = terms_of(job, dataset), folder or job.student_folder
    try:
        with whole_folder(folder) as draft:
            student.save(draft)
            write_manifest(
                draft,
                kind=student.kind,
                parameters=student.parameters,
                name=job.recipe.name,
                dataset=dataset.fingerprint,
                teacher=job.recipe.teacher.model,
                may_train=terms,
                overridden=tuple(name for name in job.recipe.teacher.allow_training if terms.get(name, "yes") != "yes"),
                recipe=job.recipe.model_dump(mode="json"),
                metrics=metrics,
                code_version=__version__,
            )
    except (OSError, StoreError) as exc:
        raise TrainingError(f"The trained student could not be written: {exc}. Make room and resume.") from exc
    return folder

"""A job is created, found, cancelled, paused, resumed: a document with what was asked for, and a run of the queue that does it.

What can be known to be wrong without reading the files is refused here, before there is a job. The files themselves are read by
the run, so a job whose files are wrong is one that failed, as OpenAI has it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import NamedTuple, TypeVar

from stillhouse.artifact import FINE_TUNED
from stillhouse.document import Document, DocumentQuery
from stillhouse.errors import MissingExtraError, NotFoundError, UsageError
from stillhouse.filing import FileRecord, Filing
from stillhouse.finetuning.bases import ARCHITECTURES, HUB, Base, find_base
from stillhouse.finetuning.recipes import Wish
from stillhouse.finetuning.refusals import RefusedError
from stillhouse.finetuning.remote import check_upstream
from stillhouse.finetuning.request import MAX_SEED, JobRequest
from stillhouse.finetuning.sampling import check_reinforcement
from stillhouse.ids import uuid7_hex
from stillhouse.jobs import queue
from stillhouse.jobs.planning import check_folders, check_recipe
from stillhouse.jobs.removing import remove_model
from stillhouse.recipe import Recipe
from stillhouse.run import Run, RunState
from stillhouse.shipped import BUILTIN
from stillhouse.workspace import Workspace

T = TypeVar("T")

KIND = "fine_tuning.job"
WORK = "fine-tune"
"""The kind of its run."""
ORGANISATION = "stillhouse"
KEPT_EPOCHS = 3
"""Of the last so many epochs the student can be asked, as OpenAI's can."""
ROUTE = "stillhouse route set ALIAS MODEL"
FAILED: tuple[RunState, ...] = ("failed",)
SOME = 64
"""How many examples a recipe is tried with before the file is read."""


class Job(NamedTuple):
    """What was asked for, and how it goes."""

    document: Document
    run: Run


def create(workspace: Workspace, filing: Filing, request: JobRequest) -> Job:
    """Enter a job and queue its run. Raises RefusedError, UpstreamError, StoreError."""
    files = dict[str, str]()
    for param, file_id in (("training_file", request.training_file), ("validation_file", request.validation_file)):
        if file_id is not None:
            files[file_id] = _checked_file(filing, param, file_id).sha256
    base = _base(workspace, request)
    seed = secrets.randbelow(MAX_SEED) if request.seed is None else request.seed
    number = uuid7_hex()
    name = model_name(base, request.suffix, number)
    _check_integrations(request, base)
    if base.upstream is None:
        check(workspace, request, base)
    else:
        _refusing("model", check_upstream, workspace, base, request)
    return _enter(workspace, request, base, files, name=name, seed=seed, number=number)


def check(workspace: Workspace, request: JobRequest, base: Base) -> Recipe:
    """Everything that the files have no part in. Raises RefusedError."""
    param = "method" if request.method is not None else "distillation" if request.distillation is not None else "model"
    if request.way.type == "reinforcement":
        _refusing("method.reinforcement", check_reinforcement, request, base)
    recipe, _ = _refusing(param, Wish(workspace, request, base, name="check", seed=0).recipe, SOME)
    _refusing(param, check_recipe, recipe)
    if (recipe.student.base or "").startswith(HUB):
        recipe = recipe.model_copy(update={"student": recipe.student.model_copy(update={"base": None})})
    _refusing(param, check_folders, workspace, recipe)
    return recipe


def find(workspace: Workspace, job_id: str) -> Job:
    """Raises NotFoundError."""
    document = workspace.store.document(KIND, job_id)
    run = None if document is None else workspace.store.run(str(document.record["run"]))
    if document is None or run is None:
        raise NotFoundError(f"There is no fine-tuning job '{job_id[:80]}'. See what there is: GET /v1/fine_tuning/jobs")
    return Job(document, run)


def page(workspace: Workspace, query: DocumentQuery) -> tuple[list[Job], bool]:
    """A page of jobs, and whether more follow."""
    found = workspace.store.documents(query)
    runs = [workspace.store.run(str(document.record["run"])) for document in found.items]
    return [Job(document, run) for document, run in zip(found.items, runs, strict=True) if run is not None], found.has_more


def cancel(workspace: Workspace, job_id: str) -> Job:
    """Raises NotFoundError, ConflictError for one that has ended."""
    job = find(workspace, job_id)
    return job._replace(run=queue.cancel(workspace.store, workspace.settings, job.run))


def pause(workspace: Workspace, job_id: str) -> Job:
    """Raises NotFoundError, ConflictError for one that has ended."""
    job = find(workspace, job_id)
    return job._replace(run=queue.pause(workspace.store, workspace.settings, job.run))


def resume(workspace: Workspace, job_id: str) -> Job:
    """Raises NotFoundError, ConflictError for one that is not paused, stopped, interrupted or failed."""
    job = find(workspace, job_id)
    if job.run.state == "failed" and "failed" in job.run.spec:
        spec = {key: value for key, value in job.run.spec.items() if key != "failed"}
        workspace.store.update_run(job.run.id, job.run.epoch, {"spec": spec}, only=FAILED).result()
    return job._replace(run=queue.resume(workspace.store, workspace.settings, job.run))


def model_name(base: Base, suffix: str | None, number: str) -> str:
    """`ft:base:org:suffix:id`; of a base that was fine-tuned itself, its own base."""
    root = base.name.split(":")[1] if base.name.startswith("ft:") else base.name.replace(":", "-")
    return f"ft:{root}:{ORGANISATION}:{suffix or ''}:{number[-8:]}"


def delete_model(workspace: Workspace, name: str) -> str:
    """Take away a model that was fine-tuned here, its files too; returns its id.

    Raises NotFoundError, RefusedError for any other model, ConflictError while an alias leads to it or a run that is not over
    needs it.
    """
    store = workspace.store
    found = store.artifact(name) or next((each for each in store.artifacts() if each.name == name), None)
    served = name in ARCHITECTURES or name.startswith(BUILTIN) or any(name in each.models for each in store.upstreams())
    if found is None and not served:
        raise NotFoundError(f"The model '{name[:80]}' does not exist.")
    if found is None or found.run is None:
        raise RefusedError(f"'{name[:80]}' was not fine-tuned here: take it away with: stillhouse models remove", "model")
    remove_model(workspace, name if name.startswith(FINE_TUNED) else found.id)
    return name


def _enter(
    workspace: Workspace, request: JobRequest, base: Base, files: Mapping[str, str], *, name: str, seed: int, number: str
) -> Job:
    """`files`: the ids of the files it reads -> the hashes of their bytes."""
    created = int(time.time())
    asked = request.model_dump(mode="json", exclude_unset=True)
    document = Document(
        kind=KIND,
        id=f"ftjob-{number}",
        created=created,
        record={
            "run": f"run-{number}",
            "request": asked,
            "metadata": request.metadata or {},
            "marked": "yes" if request.metadata else "no",
            "model": name,
            "seed": seed,
            "held": list(files.values()),
        },
    )
    run = Run(
        id=f"run-{number}",
        kind=WORK,
        name=name,
        state="queued",
        created=created,
        resource="cpu" if base.upstream is None else "network",
        ref=document.id,
        spec={
            "job": document.id,
            "request": asked,
            "base": base.model_dump(mode="json"),
            "seed": seed,
            "files": dict(files),
            "keep_epochs": KEPT_EPOCHS,
            "integrations": [each.model_dump(mode="json") for each in request.integrations or ()],
            **({} if base.upstream is None else {"upstream": base.upstream}),
        },
    )
    workspace.store.put_document(document).result()  # first: a run without one would be nobody's
    return Job(document, queue.submit(workspace.store, workspace.settings, run))


def _base(workspace: Workspace, request: JobRequest) -> Base:
    try:
        return find_base(workspace, request.model)
    except NotFoundError as exc:
        raise RefusedError(str(exc), "model", "model_not_found") from exc
    except (UsageError, MissingExtraError) as exc:
        raise RefusedError(str(exc), "model") from exc


def _checked_file(filing: Filing, param: str, file_id: str) -> FileRecord:
    try:
        record = filing.file(file_id)
    except NotFoundError as exc:
        raise RefusedError(f"invalid {param}: {exc}", param, "invalid_file") from exc
    if record.purpose != "fine-tune":
        what = f"has the purpose '{record.purpose}', and a {param} needs 'fine-tune'. Upload it again"
        raise RefusedError(f"invalid {param}: {file_id} {what}.", param, "invalid_file")
    return record


def _check_integrations(request: JobRequest, base: Base) -> None:
    if request.integrations and base.upstream is None and find_spec("wandb") is None:
        raise RefusedError(
            "integrations: the server has no 'wandb'. Install it there with: pip install 'stillhouse[wandb]'", "integrations"
        )


def _refusing(param: str, verb: Callable[..., T], *given: object) -> T:
    """What `verb` says, its refusals told as ones of the request."""
    try:
        return verb(*given)
    except RefusedError:
        raise
    except (UsageError, NotFoundError, MissingExtraError) as exc:
        raise RefusedError(str(exc), param) from exc

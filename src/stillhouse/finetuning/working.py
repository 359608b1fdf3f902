"""What a job's run does: read the files, make the recipe, train, and put the model under its name.

Each part leaves what it found out in the run's spec, under its claim, so that a run that was paused or killed goes on with the
same dataset and the same recipe, whatever became of the files meanwhile.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping
from typing import Any

from stillhouse.artifact import Artifact
from stillhouse.curation import Options, build, collect_rows, save
from stillhouse.curation.build import reasons
from stillhouse.curation.collect import Collected, joined
from stillhouse.dataset import Dataset, Split
from stillhouse.errors import StillhouseError
from stillhouse.filing import Filing, check_training, training_rows
from stillhouse.finetuning.bases import HUB, Base
from stillhouse.finetuning.bodies import metrics_of
from stillhouse.finetuning.hub import fetch
from stillhouse.finetuning.recipes import Wish
from stillhouse.finetuning.refusals import JobFailedError
from stillhouse.finetuning.remembering import remember
from stillhouse.finetuning.remote import train_there
from stillhouse.finetuning.request import JobRequest
from stillhouse.finetuning.sampling import sampled_dataset
from stillhouse.finetuning.sources import with_sources
from stillhouse.formats.base import Quarantined
from stillhouse.jobs.claim import Claim, FencedError
from stillhouse.jobs.journal import EVENTS, read_events
from stillhouse.jobs.planning import plan_training
from stillhouse.jobs.student import work as train
from stillhouse.run import Run
from stillhouse.settings import Settings
from stillhouse.workspace import Workspace

COLUMNS = ("step", "train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy",
           "full_valid_loss", "full_valid_mean_token_accuracy")  # fmt: skip
"""Of the result file."""
DEFAULTS = {"beta": 0.1, "compute_multiplier": 1.0, "eval_interval": 1, "eval_samples": 1}
"""What a method's own `"auto"` hyperparameters become."""


def work(settings: Settings, run: Run, claim: Claim) -> dict[str, Any] | None:
    """Do the job. Returns what came of it, None where it stopped as asked. Raises what its parts raise."""
    workspace = Workspace(settings)
    workspace.share()
    try:
        return _work(workspace, run, claim)
    except FencedError:
        raise
    except StillhouseError as exc:
        failed = {"code": exc.code, "message": str(exc), "param": getattr(exc, "param", None)}
        remember(claim, run, failed=failed)
        raise
    finally:
        workspace.close()


def _work(workspace: Workspace, run: Run, claim: Claim) -> dict[str, Any] | None:
    request = JobRequest.model_validate(run.spec["request"])
    if "upstream" in run.spec:
        return train_there(workspace, run, claim, request)
    if "dataset" not in run.spec:
        prepared = _prepare(workspace, run, claim, request)
        if prepared is None:
            return None
        run = prepared
    run = remember(claim, run, training_since={"step": run.step, "time": time.time()})
    claim.journal.append("Fine-tuning job started")
    workspace.close()  # whoever trains opens what it needs
    done = train(workspace.settings, run, claim)
    return None if done is None else _finish(workspace, run, claim, str(done["artifact"]))


def _prepare(workspace: Workspace, run: Run, claim: Claim, request: JobRequest) -> Run | None:
    """The run with its dataset and recipe; None where it was asked to stop meanwhile."""
    filing = Filing(workspace.store, workspace.settings, held=run.spec.get("files"))
    for param, file_id in _files(request).items():
        claim.journal.append(f"Validating {param.replace('_', ' ')}: {file_id}")
        _validate(filing, param, file_id, request.way.type)
    base = _fetched(workspace, Base.model_validate(run.spec["base"]), claim)
    if request.way.type == "reinforcement":
        sampled = sampled_dataset(workspace, filing, request, base, run, claim)
        if sampled is None:
            return None
        dataset, run = sampled
    else:
        dataset = _dataset(workspace, filing, request, claim)
    wish = Wish(workspace, request, base, name=run.name, seed=int(run.spec["seed"]))
    recipe, resolved = wish.recipe(dataset.counts["train"])
    planned = plan_training(workspace, recipe, dataset)
    claim.journal.append("Files validated, moving job to queued state")
    return remember(
        claim,
        run,
        **planned.spec,
        hyperparameters={**_asked(request), **resolved.model_dump(exclude={"base_learning_rate"})},
        learning_rate=recipe.training.learning_rate,
    )


def _files(request: JobRequest) -> dict[str, str]:
    named = {"training_file": request.training_file, "validation_file": request.validation_file}
    return {param: file_id for param, file_id in named.items() if file_id is not None}


def _asked(request: JobRequest) -> dict[str, Any]:
    """A method's own hyperparameters, with a number for what was left open."""
    given = request.given.model_dump(mode="json")
    return {name: DEFAULTS.get(name) if value == "auto" else value for name, value in given.items()}


def _validate(filing: Filing, param: str, file_id: str, way: str) -> None:
    """Raises JobFailedError that names the first wrong lines."""
    try:
        details = check_training(filing.path_of(file_id), _reader(way)).details
    except StillhouseError as exc:
        raise JobFailedError(f"The file {file_id} cannot be read: {exc}", f"invalid_{param}", param) from exc
    if details is not None:
        raise JobFailedError(f"The file {file_id} failed validation. {details}", f"invalid_{param}", param)


def _reader(way: str) -> str:
    return way if way in ("dpo", "reinforcement") else "supervised"


def _fetched(workspace: Workspace, base: Base, claim: Claim) -> Base:
    """A hub's model on this machine, entered like any other."""
    named = str(base.student.get("base", ""))
    if not named.startswith(HUB):
        return base
    claim.journal.append(f"Fetching {base.name} from the hub")
    artifact = workspace.add_model(fetch(base.name), name=base.name)
    student = {**base.student, "kind": artifact.kind, "base": artifact.id}
    return base.model_copy(update={"student": student, "parameters": artifact.parameters})


def _dataset(workspace: Workspace, filing: Filing, request: JobRequest, claim: Claim) -> Dataset:
    """The files as a dataset version: the training file its train split, the validation file its valid split."""
    way = _preferring(request)
    parts = [_rows(filing, way, request.training_file, "train")]
    if request.validation_file is not None:
        parts.append(_rows(filing, way, request.validation_file, "valid"))
    whole = joined(parts)
    whole.given_splits = True
    distillation = request.way.distillation
    if distillation is not None and distillation.signal == "logprobs":
        whole = with_sources(workspace, whole, distillation.completions)
    # What stands in both files is trained on and watched, as OpenAI has it; the manifest says how much that is.
    options = Options(near_duplicates=None, near_leaks=None, allow_leaks=len(whole.examples) ** 2)
    version = build(request.training_file, whole, options, recipe={"files": _files(request)})
    if version.leaks:
        claim.journal.append(f"{len(version.leaks)} questions stand in both files, so the validation is no test.", level="warn")
    if version.removed:
        claim.journal.append(f"Left out: {reasons(version.removed)}.", level="warn")
    known = workspace.store.dataset(version.fingerprint)  # perhaps under the name of another file with the same content
    return known or save(version, workspace.dataset_folder, workspace.store)


def _preferring(request: JobRequest) -> str:
    """How the files are read: as pairs, where what is minimised compares two answers."""
    way = request.way
    preference = way.distillation is not None and way.distillation.method.get("kind") == "preference"
    return "dpo" if preference else _reader(way.type)


def _rows(filing: Filing, way: str, file_id: str, split: Split) -> Collected:
    rows = training_rows(filing.path_of(file_id), way)
    return collect_rows((row for row in rows if not isinstance(row, Quarantined)), file=file_id, split=split)  # type: ignore[misc]


def _finish(workspace: Workspace, run: Run, claim: Claim, artifact_id: str) -> dict[str, Any]:
    """The result file, and the last words."""
    artifact = workspace.artifact(artifact_id)
    if "result_file" not in run.spec:
        filing = Filing(workspace.store, workspace.settings)
        table = _table(workspace, run, artifact)
        record = filing.keep(table, "step_metrics.csv", "fine-tune-results")
        run = remember(claim, run, result_file=record.id)
    claim.journal.append(f"New fine-tuned model created: {run.name}")
    claim.journal.append("The job has successfully completed")
    return {
        "artifact": artifact_id,
        "fine_tuned_model": run.name,
        "trained_tokens": int(artifact.metrics.get("train/tokens", 0)),
        "result_files": [run.spec["result_file"]],
    }


def _table(workspace: Workspace, run: Run, artifact: Artifact) -> bytes:
    """The metrics of every step, once: steps that were done again after a resume said the same."""
    events = read_events(workspace.settings.runs / run.id / EVENTS)
    by_step: dict[int, Mapping[str, float]] = {
        event.step: metrics_of(event.metrics, event.step) for event in events if event.step is not None and event.metrics
    }
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(by_step[step] for step in sorted(by_step))
    return text.getvalue().encode()

"""A job, its events and its checkpoints as the SDK reads them; what its types have no word for stands under `stillhouse`."""

from __future__ import annotations

import time
from typing import Any

from stillhouse.artifact import Artifact
from stillhouse.finetuning.creating import ORGANISATION, Job
from stillhouse.finetuning.request import Hyperparameters, JobRequest
from stillhouse.graders.multi import with_one
from stillhouse.run import FINAL_STATES, Run, RunEvent, RunState
from stillhouse.stores.base import RunStore

METRICS = {
    "train/loss": "train_loss",
    "train/token_accuracy": "train_mean_token_accuracy",
    "eval/loss": "valid_loss",
    "eval/token_accuracy": "valid_mean_token_accuracy",
}
"""What training reports -> what OpenAI calls it."""
FULL = {"valid_loss": "full_valid_loss", "valid_mean_token_accuracy": "full_valid_mean_token_accuracy"}
"""The valid split is always measured whole, so these are the same numbers."""
STATUSES: dict[RunState, str] = {
    "queued": "queued",
    "running": "running",
    "pausing": "running",
    "paused": "queued",
    "stopped": "queued",
    "interrupted": "queued",
    "cancelling": "cancelled",
    "cancelled": "cancelled",
    "succeeded": "succeeded",
    "failed": "failed",
}
"""The SDK's type has no word for a job that is paused; the true state stands under `stillhouse`."""
TOLD: tuple[str, ...] = ("dataset", "learning_rate", "reinforcement", "upstream", "remote")
"""What a run found out that its job tells under `stillhouse`."""
CHECKPOINT = ":ckpt-step-"
CREATED = -1
"""Number of the event that comes before all that the run says."""
ALL_EVENTS = 10_000


def job_body(job: Job) -> dict[str, Any]:
    """The job; one that ran on another server as that server showed it."""
    record, run = job.document.record, job.run
    if "rescued" in record:
        return {**record["rescued"], "stillhouse": {"state": "rescued"}}
    request = JobRequest.model_validate(record["request"])
    shown = _shown(request, run)
    done = run.state == "succeeded"
    return {
        "id": job.document.id,
        "object": "fine_tuning.job",
        "created_at": job.document.created,
        "model": request.model,
        "organization_id": ORGANISATION,
        "status": status_of(run),
        "training_file": request.training_file,
        "validation_file": request.validation_file,
        "seed": record["seed"],
        "hyperparameters": {name: shown[name] for name in Hyperparameters.model_fields},
        "method": _method(request, shown),
        "integrations": [integration.model_dump(mode="json") for integration in request.integrations or ()],
        "metadata": record["metadata"],
        "fine_tuned_model": run.result.get("fine_tuned_model") if done else None,
        "finished_at": run.finished if run.state in FINAL_STATES else None,
        "estimated_finish": estimated_finish(run),
        "trained_tokens": run.result.get("trained_tokens") if done else None,
        "result_files": list(run.result.get("result_files", ())) if done else [],
        "error": _error(run),
        "stillhouse": _ours(request, run),
    }


def status_of(run: Run) -> str:
    """OpenAI's word for it. What has not been read yet is still to be validated."""
    if run.state in ("queued", "running") and not _validated(run):
        return "validating_files"
    return STATUSES[run.state]


def estimated_finish(run: Run, now: float | None = None) -> int | None:
    """Seconds since the epoch, from the pace so far; None before the first step, and once nothing runs."""
    begun = run.spec.get("training_since")
    if run.state != "running" or not run.steps or not begun or run.step <= begun["step"]:
        return None
    now = time.time() if now is None else now
    return int(now + (now - begun["time"]) / (run.step - begun["step"]) * (run.steps - run.step))


def events_body(store: RunStore, job: Job, *, limit: int, after: str | None) -> tuple[list[dict[str, Any]], bool]:
    """A page of what the job said, newest first, and whether older ones follow. An unknown `after` begins at the newest."""
    newest = _number(after, job) if after is not None else None
    end = newest if newest is not None else _last(store, job.run.id) + 1
    first = max(CREATED, end - limit)
    events = store.events(job.run.id, after=max(first, 0) - 1, limit=end - max(first, 0)) if end > 0 else []
    bodies = [event_body(job.document.id, event) for event in reversed(events)]
    if first == CREATED and end > CREATED and "rescued" not in job.document.record:  # whose own events say so
        bodies.append(_created(job))
    return bodies, first > CREATED


def event_body(job_id: str, event: RunEvent) -> dict[str, Any]:
    """One thing it said: metrics of a step, or a message."""
    data = metrics_of(event.metrics, event.step)
    message = event.message or f"Step {event.step}: " + ", ".join(f"{name}={value:.4f}" for name, value in _told(data))
    return {
        "id": _event_id(job_id, event.seq),
        "object": "fine_tuning.job.event",
        "created_at": int(event.time),
        "level": event.level,
        "message": message,
        "type": "metrics" if event.metrics else "message",
        "data": data if event.metrics else {},
    }


def metrics_of(metrics: dict[str, float], step: int | None) -> dict[str, float]:
    """A run's metrics under OpenAI's names, and its own under theirs."""
    named = {METRICS[name]: value for name, value in metrics.items() if name in METRICS}
    full = {FULL[name]: value for name, value in named.items() if name in FULL}
    own = {name: value for name, value in metrics.items() if name not in METRICS}
    return {**({} if step is None else {"step": step}), **named, **full, **own}


def checkpoint_bodies(job: Job, artifacts: list[Artifact]) -> list[dict[str, Any]]:
    """The student at the ends of its last epochs, newest first. The last one is the model itself."""
    if "rescued" in job.document.record:
        return list(job.document.record["checkpoints"])
    if "upstream" in job.run.spec:
        return [{**body, "fine_tuning_job_id": job.document.id} for body in job.run.spec.get("checkpoints", ())]
    made = [artifact for artifact in artifacts if artifact.run == job.run.id]
    found = [_checkpoint(job, artifact, step) for artifact in made if (step := step_of(artifact, job.run)) is not None]
    return sorted(found, key=lambda body: -int(body["step_number"]))


def step_of(artifact: Artifact, run: Run) -> int | None:
    """After how many steps a model of the run was kept."""
    name = artifact.name or ""
    if CHECKPOINT in name:
        return int(name.rpartition(CHECKPOINT)[2])
    return run.step if run.state == "succeeded" else None


def _checkpoint(job: Job, artifact: Artifact, step: int) -> dict[str, Any]:
    metrics = {name: value for name, value in metrics_of(artifact.metrics, step).items() if "/" not in name}
    return {
        "id": f"ftckpt-{job.document.id.removeprefix('ftjob-')}-{step}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": artifact.created,
        "fine_tuned_model_checkpoint": artifact.name,
        "fine_tuning_job_id": job.document.id,
        "step_number": step,
        "metrics": metrics,
    }


def _validated(run: Run) -> bool:
    return "dataset" in run.spec or "remote" in run.spec


def _shown(request: JobRequest, run: Run) -> dict[str, Any]:
    """The hyperparameters: as given until the files are read, as numbers from then on."""
    return {**request.given.model_dump(mode="json"), **run.spec.get("hyperparameters", {})}


def _method(request: JobRequest, shown: dict[str, Any]) -> dict[str, Any]:
    way = request.way
    if way.type == "reinforcement" and way.reinforcement is not None:
        grader = with_one(way.reinforcement.grader)
        return {"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": shown}}
    kind = "dpo" if way.type == "dpo" else "supervised"
    return {"type": kind, kind: {"hyperparameters": shown}}


def _error(run: Run) -> dict[str, Any] | None:
    if run.state != "failed":
        return None
    return {
        "code": "training_failed",
        "message": run.error or "It failed without a word.",
        "param": None,
        **run.spec.get("failed", {}),
    }


def _ours(request: JobRequest, run: Run) -> dict[str, Any]:
    """The truth behind the words that the SDK has."""
    way = request.way
    asked = {"distillation": way.distillation.model_dump(mode="json", exclude_unset=True)} if way.distillation is not None else {}
    known: dict[str, Any] = {name: run.spec[name] for name in TOLD if name in run.spec}
    if way.reinforcement is not None and way.reinforcement.grader.get("type") == "multi":
        known["grader"] = way.reinforcement.grader
    shown: dict[str, Any] = {"state": run.state, "run": run.id, "step": run.step, "steps": run.steps, "method": way.type}
    return {**shown, **asked, **known}


def _created(job: Job) -> dict[str, Any]:
    return {
        "id": _event_id(job.document.id, CREATED),
        "object": "fine_tuning.job.event",
        "created_at": job.document.created,
        "level": "info",
        "message": f"Created fine-tuning job: {job.document.id}",
        "type": "message",
        "data": {},
    }


def _event_id(job_id: str, seq: int) -> str:
    return f"ftevent-{job_id.removeprefix('ftjob-')}-{seq + 1}"


def _number(event_id: str, job: Job) -> int | None:
    """The event's number; None for an id of something else."""
    prefix = f"ftevent-{job.document.id.removeprefix('ftjob-')}-"
    digits = event_id.removeprefix(prefix)
    return int(digits) - 1 if event_id.startswith(prefix) and digits.isdecimal() and len(digits) < 10 else None


def _last(store: RunStore, run_id: str) -> int:
    last = -1
    while events := store.events(run_id, after=last, limit=ALL_EVENTS):
        last = events[-1].seq
    return last


def _told(data: dict[str, float]) -> list[tuple[str, float]]:
    names = ("train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy")
    return [(name.replace("train_", "training ").replace("valid_", "validation ").replace("_", " "), data[name])
            for name in names if name in data]  # fmt: skip

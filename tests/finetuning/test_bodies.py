"""What the API says of a job, state by state, and the pages of its events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from pydantic import TypeAdapter

from stillhouse.document import Document
from stillhouse.finetuning.bodies import STATUSES, estimated_finish, events_body, job_body
from stillhouse.finetuning.creating import Job
from stillhouse.run import Run, RunEvent, RunState
from stillhouse.settings import Settings
from stillhouse.stores.base import Store
from stillhouse.stores.opening import open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(Settings(data_dir=tmp_path))
    yield store
    store.close()


def job(state: RunState = "running", spec: dict[str, Any] | None = None, **more: Any) -> Job:
    request = {"model": "stillhouse/linear", "training_file": "file-1"}
    record = {"run": "run-1", "request": request, "metadata": {}, "seed": 1, "model": "ft:x"}
    document = Document(kind="fine_tuning.job", id="ftjob-1", created=10, record=record)
    run = Run(id="run-1", kind="fine-tune", name="ft:x", state=state, created=10, spec=spec or {}, **more)
    return Job(document, run)


@pytest.mark.parametrize("state", get_args(RunState))
@pytest.mark.parametrize("spec", [{}, {"dataset": "sha256:1", "hyperparameters": {"n_epochs": 3, "batch_size": 2}}])
def test_every_state_is_one_that_the_sdk_knows(state: RunState, spec: dict[str, Any]) -> None:
    body = job_body(job(state, spec, finished=20, error="it broke"))
    read = TypeAdapter(FineTuningJob).validate_python(body, strict=True)
    assert body["stillhouse"]["state"] == state and state in STATUSES
    assert (read.error is not None) is (state == "failed")
    assert (read.finished_at == 20) is (state in ("succeeded", "failed", "cancelled"))
    unread = not spec and state in ("queued", "running")
    assert read.status == ("validating_files" if unread else STATUSES[state])


def test_the_end_is_estimated_from_the_pace_since_the_last_start() -> None:
    spec = {"dataset": "x", "training_since": {"step": 10, "time": 100.0}}
    assert estimated_finish(job("running", spec, step=20, steps=40).run, now=110.0) == 130
    assert estimated_finish(job("running", spec, step=10, steps=40).run, now=110.0) is None
    assert estimated_finish(job("paused", spec, step=20, steps=40).run, now=110.0) is None


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_events_come_newest_first_each_once(store: Store, count: int, limit: int) -> None:
    told = job()
    store.put_run(told.run).result()
    said = [RunEvent(run="run-1", seq=n, time=20.0 + n, step=n, metrics={"train/loss": 1.0 / (n + 1)}) for n in range(count)]
    store.add_events(said, 0).result()
    found: list[dict[str, Any]] = []
    more, after = True, None
    while more:
        page, more = events_body(store, told, limit=limit, after=after)
        assert len(page) <= limit and (page or not more)
        found += page
        after = found[-1]["id"]
    for body in found:
        TypeAdapter(FineTuningJobEvent).validate_python(body, strict=True)
    assert [body["data"].get("step") for body in found] == [*range(count - 1, -1, -1), None]
    assert found[-1]["message"] == "Created fine-tuning job: ftjob-1"
    assert events_body(store, told, limit=1, after="ftevent-other")[0][0] == found[0]

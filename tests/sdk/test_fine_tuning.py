"""Fine-tuning through the official SDK against the real server, with strict response validation, sync and async."""

from __future__ import annotations

import time
from typing import Any

import openai
import pytest

from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from tests.fakes.server import LiveServer
from tests.sdk.tuning import (
    DEADLINE_SECONDS,
    DONE,
    INTENTS,
    LINEAR,
    SUMS,
    TINY,
    ended,
    lines,
    say,
    server,
    state_of,
    until,
    upload,
)

__all__ = ["server"]

pytestmark = pytest.mark.usefixtures("forked_workers")

pytest.importorskip("torch")


def test_a_jobs_life(client: openai.OpenAI, server: LiveServer) -> None:
    training, validation = upload(client, SUMS[:20]), upload(client, SUMS[20:])
    job = client.fine_tuning.jobs.create(
        model=TINY,
        training_file=training,
        validation_file=validation,
        suffix="sums",
        seed=7,
        metadata={"team": "a"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": 10}}},
    )
    assert job.status in ("validating_files", "running") and job.fine_tuned_model is None and job.finished_at is None
    job = ended(client, job.id)
    assert (job.status, job.error, job.seed, job.metadata) == ("succeeded", None, 7, {"team": "a"})
    assert (job.training_file, job.validation_file, job.model) == (training, validation, TINY)
    assert job.fine_tuned_model.startswith("ft:stillhouse/tiny-llama:stillhouse:sums:")
    shown = job.hyperparameters
    assert (shown.n_epochs, shown.batch_size, shown.learning_rate_multiplier) == (3, 10, 1)
    assert job.finished_at >= job.created_at and job.trained_tokens > 0 and job.estimated_finish is None
    assert client.fine_tuning.jobs.retrieve(job.id) == job

    _events_tell_every_step(client, job.id)
    _checkpoints_are_models(client, job)
    _the_result_file_is_a_table(client, job)
    _a_model_is_deleted(client, job.fine_tuned_model)
    assert list((server.data_dir / "runs").glob("run-*/tensorboard/events.out.tfevents.*"))


def _events_tell_every_step(client: openai.OpenAI, job_id: str) -> None:
    events = list(client.fine_tuning.jobs.list_events(job_id, limit=3))
    assert len({event.id for event in events}) == len(events)
    messages = [event.message for event in events]
    assert messages[0] == "The job has successfully completed" and messages[-1] == f"Created fine-tuning job: {job_id}"
    metrics: list[Any] = [event.data for event in reversed(events) if event.type == "metrics"]
    assert [data["step"] for data in metrics] == [1, 2, 3, 4, 5, 6]
    assert all(0 <= data["train_mean_token_accuracy"] <= 1 and data["train_loss"] > 0 for data in metrics)
    assert ["valid_loss" in data for data in metrics] == [False, True] * 3
    assert metrics[1]["full_valid_loss"] == metrics[1]["valid_loss"] and metrics[5]["train_loss"] < metrics[0]["train_loss"]
    page = client.fine_tuning.jobs.list_events(job_id, limit=2, after=events[2].id)
    assert [event.id for event in page.data] == [event.id for event in events[3:5]] and page.has_more


def _checkpoints_are_models(client: openai.OpenAI, job: Any) -> None:
    made = list(client.fine_tuning.jobs.checkpoints.list(job.id, limit=2))
    name = job.fine_tuned_model
    assert [(one.step_number, one.fine_tuned_model_checkpoint) for one in made] == [
        (6, name), (4, f"{name}:ckpt-step-4"), (2, f"{name}:ckpt-step-2"),
    ]  # fmt: skip
    assert made[0].metrics.full_valid_loss is not None and made[0].metrics.train_mean_token_accuracy is not None
    assert {one.fine_tuned_model_checkpoint for one in made} <= {model.id for model in client.models.list()}
    middle = made[1].fine_tuned_model_checkpoint
    said = say(client, middle, "1+1")
    assert said.model == middle
    assert client.responses.input_tokens.count(model=middle, input="1+1").input_tokens == said.usage.prompt_tokens
    with pytest.raises(openai.BadRequestError, match="chat.completions, with logprobs=True"):
        client.completions.create(model=middle, prompt="1+1", echo=True, logprobs=1)
    _permissions(client, made[2].fine_tuned_model_checkpoint)


def _permissions(client: openai.OpenAI, checkpoint: str) -> None:
    permissions = client.fine_tuning.checkpoints.permissions
    created = list(permissions.create(checkpoint, project_ids=["proj-a", "proj-b"]))
    assert [one.project_id for one in created] == ["proj-a", "proj-b"]
    listed = list(permissions.list(checkpoint, limit=1, order="ascending"))
    assert {one.id for one in listed} == {one.id for one in created}
    assert [one.project_id for one in permissions.list(checkpoint, project_id="proj-b")] == ["proj-b"]
    with pytest.warns(DeprecationWarning):
        assert len(permissions.retrieve(checkpoint).data) == 2
    gone = permissions.delete(created[0].id, fine_tuned_model_checkpoint=checkpoint)
    assert gone.deleted and [one.id for one in permissions.list(checkpoint)] == [created[1].id]
    with pytest.raises(openai.NotFoundError):
        permissions.list("ft:nobody:x:y:z")


def _the_result_file_is_a_table(client: openai.OpenAI, job: Any) -> None:
    (result,) = job.result_files
    assert client.files.retrieve(result).purpose == "fine-tune-results"
    rows = client.files.content(result).text.splitlines()
    assert rows[0].startswith("step,train_loss,train_mean_token_accuracy,valid_loss") and len(rows) == 7


def _a_model_is_deleted(client: openai.OpenAI, name: str) -> None:
    assert client.models.retrieve(name).owned_by == "stillhouse"
    assert client.models.delete(name).deleted
    for gone in (client.models.retrieve, client.models.delete):
        with pytest.raises(openai.NotFoundError):
            gone(name)
    with pytest.raises(openai.BadRequestError, match="was not fine-tuned here") as refused:
        client.models.delete("builtin:base")
    assert refused.value.param == "model"


@pytest.mark.slow
@pytest.mark.engine
def test_paused_and_resumed_it_ends_as_if_nothing_had_been(client: openai.OpenAI, server: LiveServer) -> None:
    training = upload(client, SUMS)
    wish: dict[str, Any] = {
        "model": TINY,
        "training_file": training,
        "seed": 3,
        "hyperparameters": {"n_epochs": 8, "batch_size": 2},
    }
    first = client.fine_tuning.jobs.create(**wish)
    until(client, first.id, "running", *DONE)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while client.fine_tuning.jobs.retrieve(first.id).model_extra["stillhouse"]["step"] < 3:  # type: ignore[index]
        assert time.monotonic() < deadline
    assert state_of(client.fine_tuning.jobs.pause(first.id)) in ("pausing", "paused")
    paused = until(client, first.id, "paused")
    assert paused.status == "queued" and paused.finished_at is None
    assert client.fine_tuning.jobs.resume(first.id).status in ("queued", "running")
    second = client.fine_tuning.jobs.create(**wish)
    done = [ended(client, job.id) for job in (first, second)]
    assert [job.status for job in done] == ["succeeded"] * 2
    tables = [client.files.content(job.result_files[0]).text for job in done]
    assert tables[0] == tables[1] and len(tables[0].splitlines()) == 105
    weights = [weights_of(server, job.fine_tuned_model) for job in done]
    assert weights[0] == weights[1]


def weights_of(server: LiveServer, name: str) -> bytes:
    settings = Settings(data_dir=server.data_dir)
    store = open_store(settings, role="command")
    (found,) = [artifact for artifact in store.artifacts() if artifact.name == name]
    store.close()
    return b"".join(path.read_bytes() for path in sorted((settings.artifacts / found.id).rglob("*.safetensors")))


def test_a_cancelled_job_ends_and_makes_nothing(client: openai.OpenAI) -> None:
    wish: dict[str, Any] = {"model": TINY, "training_file": upload(client, SUMS), "hyperparameters": {"n_epochs": 10_000}}
    job = client.fine_tuning.jobs.create(**wish)
    waiting = client.fine_tuning.jobs.create(**wish)
    assert state_of(client.fine_tuning.jobs.pause(waiting.id)) == "paused"
    assert client.fine_tuning.jobs.resume(waiting.id).status == "validating_files"
    assert client.fine_tuning.jobs.cancel(waiting.id).status == "cancelled"
    until(client, job.id, "running")
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    done = until(client, job.id, "cancelled")
    assert done.fine_tuned_model is None and done.result_files == [] and done.finished_at is not None
    with pytest.raises(openai.ConflictError):
        client.fine_tuning.jobs.resume(job.id)


@pytest.mark.engine
def test_files_that_are_wrong_fail_the_job(client: openai.OpenAI) -> None:
    bad = upload(client, [*INTENTS, {"messages": [{"role": "user", "content": "no answer"}]}])
    job = ended(client, client.fine_tuning.jobs.create(model=LINEAR, training_file=bad).id)
    assert job.status == "failed" and (job.error.code, job.error.param) == ("invalid_training_file", "training_file")
    assert "line 13" in job.error.message
    good = upload(client, INTENTS)
    job = ended(client, client.fine_tuning.jobs.create(model=LINEAR, training_file=good, validation_file=bad).id)
    assert (job.error.code, job.error.param) == ("invalid_validation_file", "validation_file")


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"model": "nobody"}, "model", "does not exist"),
    ({"model": "org/nobody"}, "model", "hub"),
    ({"training_file": "file-0"}, "training_file", "There is no file"),
    ({"suffix": "x" * 65}, "suffix", "at most 64"),
    ({"seed": -1}, "seed", "greater than or equal to 0"),
    ({"metadata": {"k": "v" * 513}}, "metadata.k", "512"),
    ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs", "whole number of at least 1"),
    ({"method": {"type": "magic"}}, "method.type", "supervised"),
    ({"method": {"type": "dpo", "supervised": {}}}, "method", "'supervised' holds options"),
    ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations", "no 'wandb'"),
    ({"extra_body": {"distillation": {"teacher": "nobody"}}}, "distillation", "does not exist"),
    ({"extra_body": {"distillation": {"teacher": "/etc"}}}, "distillation", "does not exist"),
    ({"extra_body": {"distillation": {"signal": "live"}}}, "distillation", "learns from labels alone"),
    ({"model": TINY, "extra_body": {"distillation": {"signal": "live"}}}, "distillation", "needs the weights of its teacher"),
    (
        {"model": TINY, "extra_body": {"distillation": {"teacher": "builtin:teacher", "method": {"loss": "x"}}}},
        "distillation",
        "loss 'x'",
    ),
    (
        {"model": TINY, "method": {"type": "reinforcement", "reinforcement": {"grader": {"type": "string_check"}}}},
        "method.reinforcement",
        "fine-tune it first",
    ),
    (
        {
            "model": "builtin:base",
            "method": {"type": "reinforcement", "reinforcement": {"grader": {"type": "exact", "name": "x"}}},
        },
        "method.reinforcement",
        "is one of",
    ),
]


@pytest.mark.parametrize(("wish", "param", "message"), REFUSED)
def test_what_cannot_work_is_refused_before_there_is_a_job(
    client: openai.OpenAI, wish: dict[str, Any], param: str, message: str
) -> None:
    training = upload(client, INTENTS)
    with pytest.raises(openai.BadRequestError, match=message) as refused:
        client.fine_tuning.jobs.create(**{"model": LINEAR, "training_file": training, **wish})
    assert refused.value.param == param
    other = client.files.create(file=("x", b"x"), purpose="user_data").id
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.fine_tuning.jobs.create(model=LINEAR, training_file=other)
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.retrieve("ftjob-0")


async def test_the_async_client(server: LiveServer) -> None:
    async with openai.AsyncOpenAI(base_url=server.url, api_key="none", _strict_response_validation=True, max_retries=0) as client:
        file = await client.files.create(file=("x.jsonl", lines(INTENTS)), purpose="fine-tune")
        job = await client.fine_tuning.jobs.create(model=LINEAR, training_file=file.id)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (job := await client.fine_tuning.jobs.retrieve(job.id)).status not in DONE:
            assert time.monotonic() < deadline
        assert job.status == "succeeded" and job.fine_tuned_model is not None
        assert [event.type async for event in client.fine_tuning.jobs.list_events(job.id, limit=2)].count("metrics") == 1
        assert [one.step_number async for one in client.fine_tuning.jobs.checkpoints.list(job.id)] == [1]
        assert job.id in [one.id async for one in client.fine_tuning.jobs.list(limit=3)]
        for late in (client.fine_tuning.jobs.cancel, client.fine_tuning.jobs.pause, client.fine_tuning.jobs.resume):
            with pytest.raises(openai.ConflictError):
                await late(job.id)
        permissions, checkpoint = client.fine_tuning.checkpoints.permissions, job.fine_tuned_model
        (allowed,) = [one async for one in permissions.create(checkpoint, project_ids=["p"])]
        assert [one.id async for one in permissions.list(checkpoint)] == [allowed.id]
        with pytest.warns(DeprecationWarning):
            assert len((await permissions.retrieve(checkpoint)).data) == 1
        assert (await permissions.delete(allowed.id, fine_tuned_model_checkpoint=checkpoint)).deleted
        assert (await client.models.delete(job.fine_tuned_model)).deleted

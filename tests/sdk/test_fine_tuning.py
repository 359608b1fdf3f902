"""Fine-tuning through the official SDK against the real server, with strict response validation, sync and async."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from stillhouse.settings import Settings
from stillhouse.shipped import builtin_folder
from stillhouse.stores.opening import open_store
from stillhouse.upstream import Timeouts
from stillhouse.workspace import Workspace
from tests.fakes.server import LiveServer, add_upstream

pytestmark = pytest.mark.usefixtures("forked_workers")

pytest.importorskip("torch")

DONE = ("succeeded", "failed", "cancelled")
DEADLINE_SECONDS = 250.0
LINEAR = "stillhouse/linear"
TINY = "stillhouse/tiny-llama"


def chat(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


SUMS = [chat(f"{a}+{b}", str(a + b)) for a in range(5) for b in range(5)]
INTENTS = [chat(f"{word} {n}", label) for n in range(6) for word, label in (("card", "card"), ("pin", "pin"))]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("tuning") / "data", OMP_NUM_THREADS="1", STILLHOUSE_TENSORBOARD="1") as server:
        yield server


@pytest.fixture
def client(server: LiveServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key="none", _strict_response_validation=True, max_retries=0) as client:
        yield client


def upload(client: openai.OpenAI, rows: list[dict[str, Any]]) -> str:
    return client.files.create(file=("rows.jsonl", lines(rows)), purpose="fine-tune").id


def until(client: openai.OpenAI, job_id: str, *states: str) -> Any:
    """The job once it is in one of `states`, as Stillhouse calls them."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while state_of(job := client.fine_tuning.jobs.retrieve(job_id)) not in states:
        assert time.monotonic() < deadline, (job, [event.message for event in client.fine_tuning.jobs.list_events(job_id).data])
        time.sleep(0.05)
    return job


def state_of(job: Any) -> str:
    return str(job.model_extra["stillhouse"]["state"])


def say(client: openai.OpenAI, model: str, text: str) -> Any:
    """A few tokens of what it answers."""
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], max_tokens=4, temperature=0, store=True
    )


def ended(client: openai.OpenAI, job_id: str) -> Any:
    return until(client, job_id, *DONE)


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


def worker_of(data_dir: Path, job_id: str) -> int:
    """Its process, as the store has it."""
    store = open_store(Settings(data_dir=data_dir), role="command")
    (run,) = [run for run in store.runs("fine-tune") if run.ref == job_id]
    store.close()
    assert run.pid is not None
    return run.pid


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


@pytest.mark.slow
def test_a_classifier_by_distillation_and_pages_of_jobs(client: openai.OpenAI) -> None:
    training = upload(client, INTENTS)
    extra = {"method": {"type": "distillation", "distillation": {"student": {"config": {"words": [1, 1]}}}}}
    made = [
        client.fine_tuning.jobs.create(
            model=LINEAR, training_file=training, validation_file=training, metadata={"n": str(n)}, extra_body=extra
        ).id
        for n in range(2)
    ]
    assert client.files.delete(training).deleted, "its bytes are held until those who read it have ended"
    job = ended(client, made[1])
    assert (job.status, job.training_file) == ("succeeded", training) and job.method.type == "supervised"
    assert job.model_extra["stillhouse"]["distillation"] == extra["method"]["distillation"]
    assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (1, 12)
    said = client.chat.completions.create(model=job.fine_tuned_model, messages=[{"role": "user", "content": "card 9"}])
    assert said.choices[0].message.content == "card"
    assert [one.id for one in client.fine_tuning.jobs.list(limit=1)][:2] == made[::-1]
    assert [one.id for one in client.fine_tuning.jobs.list(metadata={"n": "0"})] == made[:1]
    ended(client, made[0])
    with pytest.raises(openai.BadRequestError, match="There is no file"):
        client.fine_tuning.jobs.create(model=LINEAR, training_file=training)
    plain = client.fine_tuning.jobs.create(model=LINEAR, training_file=upload(client, INTENTS))
    assert plain.id in [one.id for one in client.fine_tuning.jobs.list(extra_query={"metadata": "null"})]
    assert made[0] not in [one.id for one in client.fine_tuning.jobs.list(extra_query={"metadata": "null"})]

    client.fine_tuning.jobs.cancel(plain.id)


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


@pytest.mark.engine
def test_an_answer_that_is_preferred(client: openai.OpenAI) -> None:
    pairs = [
        {
            "input": {"messages": [{"role": "user", "content": f"{n}?"}]},
            "preferred_output": [{"role": "assistant", "content": "yes"}],
            "non_preferred_output": [{"role": "assistant", "content": "no"}],
        }
        for n in range(8)
    ]
    job = client.fine_tuning.jobs.create(
        model="builtin:base",
        training_file=upload(client, pairs),
        method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "n_epochs": 2, "batch_size": 4}}},
    )
    job = ended(client, job.id)
    assert job.status == "succeeded", job.error
    assert job.method.type == "dpo" and job.method.dpo.hyperparameters.beta == 0.2
    assert job.fine_tuned_model.startswith("ft:builtin-base:")


@pytest.mark.slow
@pytest.mark.engine
def test_expert_iteration_learns_from_what_passes(client: openai.OpenAI) -> None:
    question = "Adira flips the coin. Is the coin still heads up?"
    rows = [{"messages": [{"role": "user", "content": f"A coin is heads up. {question}"}], "gold": "answer"} for _ in range(3)]
    other = {**rows[0], "messages": [{"role": "user", "content": f"A coin is heads up. Adira leaves it alone. {question}"}]}
    grader: Any = {"type": "string_check", "name": "g", "input": "{{sample.output_text}}", "reference": "{{item.gold}}",
                   "operation": "like"}  # fmt: skip
    job = client.fine_tuning.jobs.create(
        model="builtin:teacher",
        training_file=upload(client, rows),
        validation_file=upload(client, [other]),
        method={"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": {"n_epochs": 1}}},
        seed=1,
    )
    job = ended(client, job.id)
    assert job.status == "succeeded", job.error
    found = job.model_extra["stillhouse"]["reinforcement"]
    assert found["way"] == "expert iteration" and found["drawn"] == 12 and 0 < found["passed"] <= 12
    assert 0 <= found["validation_mean_reward"] <= 1
    assert job.method.type == "reinforcement" and job.method.reinforcement.grader.name == "g"

    never: Any = {**grader, "reference": "that nobody says"}
    job = client.fine_tuning.jobs.create(
        model="builtin:teacher",
        training_file=upload(client, rows[:1]),
        method={"type": "reinforcement", "reinforcement": {"grader": never, "hyperparameters": {"compute_multiplier": 0.25}}},
    )
    job = ended(client, job.id)
    assert job.status == "failed" and job.error.code == "no_answer_passed"


@pytest.mark.engine
def test_distribution_of_a_teacher_that_lies_here(client: openai.OpenAI) -> None:
    extra = {"distillation": {"teacher": "builtin:teacher", "signal": "cache", "training": {"steps": 2, "batch_size": 4}}}
    rows = [chat(f"Repeat the name {name}", f"The answer is {name}.") for name in ("Ada", "Bo", "Cy", "Di")]
    job = client.fine_tuning.jobs.create(model=TINY, training_file=upload(client, rows), extra_body=extra)
    job = ended(client, job.id)
    assert job.status == "succeeded", job.error
    assert job.hyperparameters.n_epochs == 2 and job.hyperparameters.batch_size == 4
    events: list[Any] = list(client.fine_tuning.jobs.list_events(job.id))
    assert any(event.type == "metrics" and event.data["train/kd_loss"] > 0 for event in events)


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


@pytest.mark.engine
def test_an_upstream_that_fine_tunes_does_it_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A second server stands in for OpenAI: it has the base, the first one has its name and the way to it."""
    here, there = (tmp_path_factory.mktemp(name) / "data" for name in ("here", "there"))
    workspace = Workspace(Settings(data_dir=there))
    workspace.add_model(builtin_folder("base"), name="mini")
    store = workspace.store
    (entered,) = store.artifacts()
    store.put_artifact(entered.model_copy(update={"name": "mini"})).result()
    workspace.close()
    with LiveServer(there, OMP_NUM_THREADS="1") as remote:
        add_upstream(here, remote.url, "mini", timeouts=Timeouts(first_byte=DEADLINE_SECONDS))
        with (
            LiveServer(here) as server,
            openai.OpenAI(base_url=server.url, api_key="none", _strict_response_validation=True, max_retries=0) as client,
            openai.OpenAI(base_url=remote.url, api_key="none", max_retries=0) as other,
        ):
            job = client.fine_tuning.jobs.create(
                model="mini",
                training_file=upload(client, SUMS),
                suffix="far",
                hyperparameters={"n_epochs": 2},
                metadata={"a": "b"},
            )
            until(client, job.id, "running", *DONE)
            while not other.fine_tuning.jobs.list().data:
                time.sleep(0.05)
            os.kill(worker_of(here, job.id), signal.SIGKILL)
            job = ended(client, job.id)
            assert job.status == "succeeded", job.error
            (theirs,) = other.fine_tuning.jobs.list().data
            assert job.fine_tuned_model == theirs.fine_tuned_model and job.trained_tokens == theirs.trained_tokens
            assert theirs.metadata is not None and theirs.metadata["a"] == "b"
            said = client.chat.completions.create(
                model=job.fine_tuned_model, messages=[{"role": "user", "content": "1"}], max_tokens=2
            )
            assert said.model == job.fine_tuned_model
            ours = [event.message for event in client.fine_tuning.jobs.list_events(job.id)]
            assert "The job has successfully completed" in ours
            steps = [event for event in client.fine_tuning.jobs.list_events(job.id) if event.type == "metrics"]
            assert (
                len(steps)
                == len([event for event in other.fine_tuning.jobs.list_events(theirs.id) if event.type == "metrics"])
                > 0
            )
            assert client.files.content(job.result_files[0]).text.startswith("step,")
            assert [one.step_number for one in client.fine_tuning.jobs.checkpoints.list(job.id)]

"""Ways to fine-tune through the official SDK: distillation, preferences, graders, a teacher that lies here or far away."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import openai
import pytest

from stillhouse.settings import Settings
from stillhouse.shipped import builtin_folder
from stillhouse.upstream import Timeouts
from stillhouse.workspace import Workspace
from tests.fakes.server import LiveServer, add_upstream
from tests.sdk.tuning import DEADLINE_SECONDS, DONE, INTENTS, LINEAR, SUMS, TINY, chat, ended, server, until, upload, worker_of

__all__ = ["server"]

pytestmark = pytest.mark.usefixtures("forked_workers")

pytest.importorskip("torch")


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

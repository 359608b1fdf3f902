"""What tests of fine-tuning have in common: small data, a server, and the waiting."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from tests.fakes.server import LiveServer

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


def worker_of(data_dir: Path, job_id: str) -> int:
    """Its process, as the store has it."""
    store = open_store(Settings(data_dir=data_dir), role="command")
    (run,) = [run for run in store.runs("fine-tune") if run.ref == job_id]
    store.close()
    assert run.pid is not None
    return run.pid

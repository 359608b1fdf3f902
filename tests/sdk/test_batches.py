"""Batches through the official SDK against the real server, with strict response validation, sync and async."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import Batch

from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from tests.fakes.server import TIMEOUTS, LiveServer, add_upstream
from tests.fakes.upstream import FakeUpstream, answer_to

pytestmark = pytest.mark.usefixtures("forked_workers")

ENDED = {"completed", "failed", "expired", "cancelled"}


def request(number: int | str, **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"问题 {number}?"}]
    return {
        "custom_id": f"request-{number}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "gpt-4o", "messages": messages, **body},
    }


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream) -> Iterator[LiveServer]:
    data_dir = tmp_path_factory.mktemp("batches") / "data"
    add_upstream(data_dir, upstream.base_url)
    with LiveServer(data_dir, STILLHOUSE_BATCH_CONCURRENCY="3") as server:
        yield server


def begin(client: openai.OpenAI, content: bytes, **more: Any) -> Batch:
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", **more)


def ended(client: openai.OpenAI, batch: Batch) -> Batch:
    deadline = time.monotonic() + 120
    while (batch := client.batches.retrieve(batch.id)).status not in ENDED:
        assert time.monotonic() < deadline, batch
        time.sleep(0.05)
    return batch


def rows(client: openai.OpenAI, file_id: str | None) -> dict[str, dict[str, Any]]:
    assert file_id is not None
    found = [json.loads(line) for line in client.files.content(file_id).text.splitlines()]
    return {row["custom_id"]: row for row in found}


def test_a_batch_from_file_to_files(client: openai.OpenAI) -> None:
    good = [request(n) for n in range(7)]
    bad = [request("strange", model="nobody"), request("stream", stream=True), request("refused", fault={"status": 400})]
    batch = begin(client, lines(*good, *bad), metadata={"for": "labels"})
    assert batch.status in ("validating", "in_progress") and batch.expires_at == batch.created_at + 86_400
    assert batch.metadata == {"for": "labels"} and batch.completion_window == "24h"

    done = ended(client, batch)
    assert (done.status, done.errors) == ("completed", None)
    assert done.request_counts is not None and done.usage is not None
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (10, 7, 3)
    assert (done.usage.input_tokens, done.usage.output_tokens, done.usage.total_tokens) == (49, 77, 126)
    assert done.completed_at and done.finalizing_at and done.in_progress_at and done.created_at <= done.in_progress_at

    answers = rows(client, done.output_file_id)
    assert set(answers) == {row["custom_id"] for row in good}
    for row in good:
        answer = answers[row["custom_id"]]
        assert answer["error"] is None and answer["response"]["status_code"] == 200
        assert answer["response"]["body"]["choices"][0]["message"]["content"] == answer_to(row["body"])
        assert answer["id"].startswith("batch_req") and answer["response"]["request_id"].startswith("req_")
    failures = rows(client, done.error_file_id)
    said = {name: (row["response"]["status_code"], row["response"]["body"]["error"]["code"]) for name, row in failures.items()}
    assert said == {
        "request-strange": (404, "model_not_found"),
        "request-stream": (400, "invalid_value"),
        "request-refused": (400, "fake_code"),
    }
    output = client.files.retrieve(done.output_file_id or "")
    assert (output.purpose, output.filename) == ("batch_output", f"{batch.id}_output.jsonl")
    with pytest.raises(openai.ConflictError, match="completed"):
        client.batches.cancel(batch.id)


def test_what_is_to_be_stored_is_captured_like_any_other_request(client: openai.OpenAI) -> None:
    done = ended(client, begin(client, lines(*(request(n, store=True, metadata={"batch": "stored"}) for n in range(3)))))
    stored = list(client.chat.completions.list(metadata={"batch": "stored"}))
    answers = rows(client, done.output_file_id)
    assert {row["response"]["body"]["id"] for row in answers.values()} == {completion.id for completion in stored}
    assert done.error_file_id is None


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/responses", {"model": "gpt-4o", "input": "Why?", "store": False}),
        ("/v1/embeddings", {"model": "gpt-4o", "input": "Why?"}),
        ("/v1/completions", {"model": "gpt-4o", "prompt": "Why?"}),
    ],
)
def test_every_endpoint_that_asks_a_model(
    client: openai.OpenAI, upstream: FakeUpstream, endpoint: str, body: dict[str, Any]
) -> None:
    asked = len(upstream.ledger)
    file = client.files.create(file=lines({**request(1), "url": endpoint, "body": body}), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h")  # type: ignore[arg-type]
    done = ended(client, batch)
    assert (done.status, done.error_file_id) == ("completed", None) and done.usage is not None
    answer = rows(client, done.output_file_id)["request-1"]["response"]["body"]
    assert answer["object"] == "response" if endpoint == "/v1/responses" else answer["usage"]["prompt_tokens"]
    assert done.usage.input_tokens > 0 and len(upstream.ledger) == asked + 1


def test_lines_that_are_wrong_fail_the_batch_by_their_numbers(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    asked = len(upstream.ledger)
    content = lines(request(1), {**request(2), "url": "/v1/embeddings"}, request(1)) + b"{\n"
    failed = ended(client, begin(client, content))
    assert failed.status == "failed" and failed.failed_at and failed.errors is not None and failed.errors.data is not None
    assert [(problem.line, problem.code, problem.param) for problem in failed.errors.data] == [
        (2, "invalid_url", "url"), (3, "duplicate_custom_id", "custom_id"), (4, "invalid_json_line", None),
    ]  # fmt: skip
    assert len(upstream.ledger) == asked and failed.output_file_id is None


def test_a_batch_is_cancelled_within_a_moment_and_keeps_what_it_has(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    asked = len(upstream.ledger)
    waiting = [request(f"waits-{n}", fault={"delay": 30}) for n in range(5)]
    batch = begin(
        client,
        lines(request("quick-1"), request("quick-2"), *waiting),
        output_expires_after={"anchor": "created_at", "seconds": 3600},
    )
    upstream.wait_for(asked + 5)
    cancelling = client.batches.cancel(batch.id)
    assert cancelling.status in ("cancelling", "cancelled") and cancelling.cancelling_at
    done = ended(client, batch)
    assert done.status == "cancelled" and done.cancelled_at and done.request_counts is not None
    assert (done.request_counts.total, done.request_counts.completed) == (7, 2)
    assert set(rows(client, done.output_file_id)) == {"request-quick-1", "request-quick-2"}
    unasked = rows(client, done.error_file_id)
    assert {row["error"]["code"] for row in unasked.values()} == {"batch_cancelled"} and len(unasked) == 5
    output = client.files.retrieve(done.output_file_id or "")
    assert output.expires_at == output.created_at + 3600
    assert client.batches.cancel(batch.id).status == "cancelled"


def test_lists(client: openai.OpenAI) -> None:
    made = [begin(client, lines(request(n))) for n in range(3)]
    names = [batch.id for batch in made]
    assert [batch.id for batch in client.batches.list(limit=2)][:3] == names[::-1]
    assert client.batches.list(after=names[1], limit=1).data[0].id == names[0]
    assert [ended(client, batch).status for batch in made] == ["completed"] * 3  # other tests count what the upstream was asked


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"endpoint": "/v1/images/edits"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": "file-1"}, "input_file_id"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
    ],
)
def test_wishes_that_cannot_be(client: openai.OpenAI, wish: dict[str, Any], param: str) -> None:
    file = client.files.create(file=lines(request(1)), purpose="batch")
    good = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    with pytest.raises(openai.BadRequestError) as refused:
        client.batches.create(**{**good, **wish})
    assert refused.value.param == param


def test_other_files_are_no_input(client: openai.OpenAI) -> None:
    file = client.files.create(file=lines(request(1)), purpose="user_data")
    with pytest.raises(openai.BadRequestError, match="needs the purpose 'batch'"):
        client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch-1")


async def test_the_async_client(server: LiveServer) -> None:
    async with openai.AsyncOpenAI(base_url=server.url, api_key="none", _strict_response_validation=True, max_retries=0) as client:
        file = await client.files.create(file=lines(request("async")), purpose="batch")
        batch = await client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        await client.files.delete(file.id)  # what it asks stays until it has ended
        while (batch := await client.batches.retrieve(batch.id)).status not in ENDED:
            await asyncio.sleep(0.05)
        assert batch.status == "completed" and batch.output_file_id
        content = await client.files.content(batch.output_file_id)
        assert json.loads(content.text)["custom_id"] == "request-async"
        assert batch.id in [listed.id async for listed in client.batches.list()]
        with pytest.raises(openai.ConflictError):
            await client.batches.cancel(batch.id)


@pytest.mark.engine
def test_server_and_worker_may_be_killed(tmp_path: Path) -> None:
    """The worker outlives its server and goes on; killed itself, it is started again by the next server."""
    data_dir = tmp_path / "data"
    quick, waiting = ([request(f"{fault}-{n}", fault=fault) for n in range(20)] for fault in ({"delay": 0.05}, {"wait": True}))
    patient = TIMEOUTS.model_copy(update={"first_byte": 600.0})  # a slow machine is no reason to ask again
    with FakeUpstream() as upstream:
        add_upstream(data_dir, upstream.base_url, timeouts=patient)
        with LiveServer(data_dir, STILLHOUSE_BATCH_CONCURRENCY="2") as server:
            with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
                batch = begin(client, lines(*quick, *waiting))
            upstream.wait_for(5)
            server.kill()
            upstream.wait_for(22)
        with LiveServer(data_dir, STILLHOUSE_BATCH_CONCURRENCY="2") as server:
            os.kill(worker_of(data_dir), signal.SIGKILL)
            upstream.release.set()
            with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
                done = ended(client, batch)
                assert done.status == "completed" and done.request_counts is not None
                assert (done.request_counts.completed, done.request_counts.failed) == (40, 0)
                assert len(rows(client, done.output_file_id)) == 40
        assert len(upstream.ledger) <= 40 + 2


def worker_of(data_dir: Path) -> int:
    store = open_store(Settings(data_dir=data_dir), role="command")
    try:
        (run,) = store.runs("batch")
        assert run.pid is not None
        return run.pid
    finally:
        store.close()

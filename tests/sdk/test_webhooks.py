"""`client.webhooks` of the official SDK: endpoints made with it, deliveries that its `unwrap` believes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import openai
import pytest

from stillhouse.run import Run
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from tests.fakes.server import LiveServer

pytestmark = [
    pytest.mark.skipif(int(openai.__version__.partition(".")[0]) < 3, reason="endpoints are in the SDK's third major"),
    pytest.mark.usefixtures("forked_workers"),
]


class Receiver(HTTPServer):
    """A customer's server: keeps what it is sent."""

    def __init__(self) -> None:
        self.got: Queue[tuple[bytes, dict[str, str]]] = Queue()
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert isinstance(self.server, Receiver)
        self.server.got.put((body, {name.lower(): value for name, value in self.headers.items()}))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.shutdown()
    receiver.server_close()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("webhooks") / "data"


@pytest.fixture(scope="module")
def server(data_dir: Path) -> Iterator[LiveServer]:
    with LiveServer(data_dir, STILLHOUSE_WEBHOOK_HOSTS="127.0.0.1") as server:
        yield server


def test_endpoints_are_made_changed_listed_and_deleted(client: openai.OpenAI, receiver: Receiver) -> None:
    assert "fine_tuning.job.succeeded" in client.webhooks.event_types.list().data
    made = client.webhooks.create(name="mine", url=receiver.url, event_types=["batch.completed"])
    assert made.signing_secret.startswith("whsec_")
    changed = client.webhooks.update(made.id, event_types=["eval.run.failed"], name="ours")
    assert (changed.name, changed.event_types, changed.url) == ("ours", ["eval.run.failed"], receiver.url)
    assert client.webhooks.retrieve(made.id) == changed
    other = client.webhooks.create(name="other", url=receiver.url, event_types=["batch.failed"])
    assert [each.id for each in client.webhooks.list(limit=1)][:2] == [other.id, made.id]  # those of other tests may follow
    for each in (made, other):
        assert client.webhooks.delete(each.id).deleted
        with pytest.raises(openai.NotFoundError):
            client.webhooks.retrieve(each.id)


def test_a_trial_is_signed_with_every_secret_in_use(client: openai.OpenAI, receiver: Receiver) -> None:
    made = client.webhooks.create(name="mine", url=receiver.url, event_types=["batch.completed"])
    rotated = client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
    tried = client.webhooks.test(made.id, event_type="batch.completed")
    assert tried.status_code == 204
    body, headers = receiver.got.get(timeout=20)
    for secret in (made.signing_secret, rotated.signing_secret):
        assert client.webhooks.unwrap(body, headers, secret=secret).type == "batch.completed"
        client.webhooks.verify_signature(body, headers, secret=secret)
    client.webhooks.rotate_secret(made.id)
    client.webhooks.test(made.id, event_type="batch.completed")
    body, headers = receiver.got.get(timeout=20)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body, headers, secret=rotated.signing_secret)
    client.webhooks.delete(made.id)


def test_what_ended_while_the_server_was_away_is_told_when_it_is_back(
    client: openai.OpenAI, receiver: Receiver, server: LiveServer, data_dir: Path
) -> None:
    made = client.webhooks.create(name="mine", url=receiver.url, event_types=["fine_tuning.job.failed"])
    server.kill()
    store = open_store(Settings(data_dir=data_dir))
    run = Run(id="run-1", kind="train", name="n", state="failed", created=5, spec={}, ref="ftjob-1", finished=9)
    store.put_run(run).result()
    store.close()
    server.start()
    body, headers = receiver.got.get(timeout=60)
    event = client.webhooks.unwrap(body, headers, secret=made.signing_secret)
    assert event.type == "fine_tuning.job.failed" and event.data.id == "ftjob-1"


@pytest.mark.engine
def test_an_evals_run_and_a_batch_are_told_when_they_end(client: openai.OpenAI, receiver: Receiver) -> None:
    kinds: list[Any] = ["eval.run.succeeded", "batch.completed"]
    made = client.webhooks.create(name="ends", url=receiver.url, event_types=kinds)
    check: Any = {"type": "string_check", "name": "c", "input": "{{item.a}}", "reference": "x", "operation": "eq"}
    config: Any = {"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": False}
    defined = client.evals.create(data_source_config=config, testing_criteria=[check])
    rows: Any = {"type": "jsonl", "source": {"type": "file_content", "content": [{"item": {"a": "x"}}]}}
    run = client.evals.runs.create(defined.id, data_source=rows)
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "nobody", "messages": []}}
    file = client.files.create(file=("b.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    heard = [receiver.got.get(timeout=120) for _ in kinds]
    events: list[Any] = [client.webhooks.unwrap(body, headers, secret=made.signing_secret) for body, headers in heard]
    assert {(event.type, event.data.id) for event in events} == {(kinds[0], run.id), (kinds[1], batch.id)}
    client.webhooks.delete(made.id)


@pytest.mark.parametrize(
    ("url", "types", "named"),
    [
        ("https://169.254.169.254/", ["batch.failed"], "url"),
        ("nowhere", ["batch.failed"], "url"),
        ("https://a.example/", ["video.failed"], "event_types"),
        ("https://a.example/", [], "event_types"),
    ],
)
def test_what_cannot_be_is_refused_by_name(client: openai.OpenAI, url: str, types: list[str], named: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.webhooks.create(name="n", url=url, event_types=types)  # type: ignore[arg-type]
    assert refused.value.param == named


async def test_the_async_client_too(server: LiveServer, receiver: Receiver) -> None:
    async with openai.AsyncOpenAI(base_url=server.url, api_key="none", _strict_response_validation=True, max_retries=0) as client:
        made = await client.webhooks.create(name="mine", url=receiver.url, event_types=["batch.completed"])
        await client.webhooks.test(made.id, event_type="batch.completed")
        body, headers = receiver.got.get(timeout=20)
        assert client.webhooks.unwrap(body, headers, secret=made.signing_secret).type == "batch.completed"
        client.webhooks.verify_signature(body, headers, secret=made.signing_secret)
        assert [each.id async for each in client.webhooks.list()][0] == made.id
        assert (await client.webhooks.update(made.id, name="ours")).name == "ours"
        assert (await client.webhooks.rotate_secret(made.id)).signing_secret != made.signing_secret
        assert (await client.webhooks.retrieve(made.id)).name == "ours"
        assert "batch.completed" in (await client.webhooks.event_types.list()).data
        await client.webhooks.delete(made.id)

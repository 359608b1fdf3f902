"""Events of runs, and signatures that the official SDK believes, or does not."""

from __future__ import annotations

import json
import time
from typing import Any

import openai
import pytest

from stillhouse.run import Run
from stillhouse.webhook import Event, WebhookEndpoint, event_of, new_secret, signed_headers


def run(**changes: Any) -> Run:
    return Run.model_validate(
        {"id": "run-1", "kind": "train", "name": "n", "state": "succeeded", "created": 5, "spec": {}, "epoch": 2, **changes}
    )


@pytest.mark.parametrize(
    ("ref", "state", "result", "expected"),
    [
        ("ftjob-1", "succeeded", {}, "fine_tuning.job.succeeded"),
        ("ftjob-1", "cancelled", {}, "fine_tuning.job.cancelled"),
        ("evalrun-1", "cancelled", {}, "eval.run.canceled"),
        ("evalrun_1", "failed", {}, "eval.run.failed"),
        ("batch-1", "succeeded", {"status": "completed"}, "batch.completed"),
        ("batch-1", "succeeded", {"status": "expired"}, "batch.expired"),
        ("batch-1", "cancelled", {}, "batch.cancelled"),
        ("batch-1", "succeeded", {}, "batch.completed"),
    ],
)
def test_the_end_of_what_the_api_knows_is_an_event(ref: str, state: str, result: dict[str, str], expected: str) -> None:
    event = event_of(run(ref=ref, state=state, result=result, finished=9))
    assert event == Event(id="evt_run-1_2", type=expected, created_at=9, data={"id": ref})


def test_other_runs_have_no_event() -> None:
    assert event_of(run()) is None
    assert event_of(run(ref="label-1")) is None


def test_the_sdk_believes_what_is_signed_with_its_secret_and_nothing_else() -> None:
    secret, old = new_secret(), new_secret()
    body = json.dumps({"id": "evt_1", "type": "batch.completed", "created_at": 1, "data": {"id": "batch-1"}}).encode()
    headers = signed_headers((secret, old), "evt_1", int(time.time()), body)
    client = openai.OpenAI(api_key="none")
    for known in (secret, old):
        event = client.webhooks.unwrap(body, headers, secret=known)
        assert event.type == "batch.completed" and event.data.id == "batch-1"
    for wrong in ({**headers, "webhook-id": "evt_2"}, {**headers, "webhook-timestamp": str(int(time.time()) - 1)}):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.unwrap(body, wrong, secret=secret)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body + b" ", headers, secret=secret)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body, headers, secret=new_secret())


def test_an_old_secret_counts_until_its_day_is_over() -> None:
    endpoint = WebhookEndpoint(
        id="wh-1", name="n", url="https://a.example/x", event_types=("batch.failed",), created_at=1, updated_at=1,
        secrets=("new", "old"), old_until=10,
    )  # fmt: skip
    assert (endpoint.in_use(9), endpoint.in_use(10)) == (("new", "old"), ("new",))


@pytest.mark.parametrize("url", ["ftp://a.example", "https://user:pass@a.example", "a.example", "https://"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="https://"):
        WebhookEndpoint(id="wh-1", name="n", url=url, event_types=("batch.failed",), created_at=1, updated_at=1, secrets=("s",))

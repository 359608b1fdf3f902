"""What the tests of the SDK's evals share: a server, an upstream that adds up, criteria, and waiting for a run.

The questions are sums. The teacher is always right, the student errs where a sum ends in 5 or 0, the judge knows which is which.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.evals import RunCreateResponse, RunRetrieveResponse

from tests.fakes.server import LiveServer, add_upstream
from tests.fakes.speaking import SpeakingUpstream, last_text

DEADLINE_SECONDS = 120.0
ENDED = ("completed", "failed", "canceled")
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}, "a": {"type": "string"}}, "required": ["q", "a"]}
CUSTOM: Any = {"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True}
RIGHT: Any = {
    "type": "string_check", "name": "right", "input": "{{sample.output_text}}", "reference": "{{item.a}}", "operation": "eq"
}  # fmt: skip
CRITERIA: list[Any] = [
    RIGHT,
    {
        "type": "text_similarity", "name": "near", "input": "{{sample.output_text}}", "reference": "{{item.a}}",
        "evaluation_metric": "fuzzy_match", "pass_threshold": 0.5,
    },
    {
        "type": "label_model", "name": "label", "model": "judge", "labels": ["good", "bad"], "passing_labels": ["good"],
        "input": [{"role": "user", "content": "{{item.q}} {{sample.output_text}}"}],
    },
    {
        "type": "score_model", "name": "score", "model": "judge", "pass_threshold": 0.6,
        "input": [{"role": "user", "content": {"type": "input_text", "text": "{{item.q}} {{sample.output_text}}"}}],
    },
]  # fmt: skip
SAME: Any = {**RIGHT, "name": "same", "reference": "{{item.output_text}}"}
TEMPLATE: Any = {"type": "template", "template": [{"role": "user", "content": "{{item.q}}"}]}


def question(number: int) -> str:
    return f"What is {number} plus {number + 3}?"


def item(number: int) -> dict[str, Any]:
    return {"q": question(number), "a": str(2 * number + 3)}


def says(body: dict[str, Any]) -> str:
    words = last_text(body).replace("?", " ").split()
    numbers = [int(word) for word in words if word.isdecimal()]
    total = sum(numbers[:2])
    if body["model"] == "judge":
        good = str(total) in words[-4:]
        wants = body["response_format"]["json_schema"]["schema"]["properties"]
        if "winner" in wants:
            return json.dumps({"reasoning": "added up", "winner": better_of(last_text(body))})
        return json.dumps(
            {"reasoning": "added up", **({"score": float(good)} if "score" in wants else {"label": "good" if good else "bad"})}
        )
    return str(total + (body["model"] == "student" and total % 5 == 0))


def better_of(shown: str) -> str:
    """Which of the two answers that a pairwise judge sees is the sum of the question's numbers."""
    numbers = [int(number) for number in re.findall(r"(?<![\w])\d+(?![\w])", shown)]
    right = [answer == sum(numbers[:2]) for answer in numbers[2:4]]
    return "tie" if right[0] == right[1] else "first" if right[0] else "second"


@pytest.fixture(scope="module")
def upstream() -> Iterator[SpeakingUpstream]:
    with SpeakingUpstream(says) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def server(upstream: SpeakingUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    data_dir: Path = tmp_path_factory.mktemp("evals") / "data"
    add_upstream(data_dir, upstream.base_url, "teacher", "student", "judge")
    with LiveServer(data_dir) as server:
        yield server


def until(client: openai.OpenAI, run: RunCreateResponse, done: Callable[[RunRetrieveResponse], bool]) -> RunRetrieveResponse:
    """Ask until it is so: another process does it."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        found = client.evals.runs.retrieve(run.id, eval_id=run.eval_id)
        if done(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def ended(client: openai.OpenAI, run: RunCreateResponse) -> RunRetrieveResponse:
    return until(client, run, lambda found: found.status in ENDED)


def start(client: openai.OpenAI, eval_id: str, data_source: Any, **more: Any) -> RunCreateResponse:
    return client.evals.runs.create(eval_id, data_source=data_source, **more)


def asking(model: str, count: int, **more: Any) -> Any:
    content = [{"item": item(number)} for number in range(count)]
    source = {"type": "file_content", "content": content}
    return {"type": "completions", "model": model, "source": source, "input_messages": TEMPLATE, **more}

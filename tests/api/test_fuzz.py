"""Schemathesis on our own OpenAPI document against the real server: no 5xx, no hang, every error in OpenAI's envelope."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from tests.api.test_access import GOLDEN
from tests.fakes.server import LiveServer, add_upstream
from tests.fakes.upstream import FakeUpstream

OPERATIONS = sorted((method, path.replace(":path}", "}")) for method, path in GOLDEN if path != "/api/writes")
SECONDS = 20
"""For one answer: past it the server counts as hung."""
CASES, ALL_CASES = 300, 5000


class Api(NamedTuple):
    schema: Any
    url: str


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    data_dir: Path = tmp_path_factory.mktemp("fuzz") / "data"
    with FakeUpstream() as upstream:
        add_upstream(data_dir, upstream.base_url, "gpt-4o")
        with LiveServer(data_dir) as server:
            url = server.url.removesuffix("/v1")
            yield Api(schemathesis.openapi.from_url(f"{url}/openapi.json"), url)
            with openai.OpenAI(base_url=server.url, api_key="none") as client:
                assert client.models.list().data  # it lives


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_nothing_that_can_be_sent_breaks_the_server(api: Api, method: str, path: str) -> None:
    fuzz(api, method, path, settings(max_examples=max(3, CASES // len(OPERATIONS)), derandomize=True))


@pytest.mark.full
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_nothing_breaks_it_in_many_cases(api: Api, method: str, path: str) -> None:
    fuzz(api, method, path, settings(max_examples=ALL_CASES // len(OPERATIONS) + 1))


def fuzz(api: Api, method: str, path: str, how_many: settings) -> None:
    """Valid and invalid requests, generated from what the document says of this operation."""
    operation = api.schema[path][method]
    strategy = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if operation.body or list(operation.query):
        strategy |= operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @settings(how_many, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=strategy)
    def check(case: Any) -> None:
        response = case.call(base_url=api.url, timeout=SECONDS)
        assert response.status_code < 500, (response.status_code, response.text, case.as_curl_command())
        if response.status_code >= 400:
            said = response.json()["error"]
            assert set(said) == {"message", "type", "param", "code"}, case.as_curl_command()
            assert isinstance(said["message"], str) and said["message"]

    check()

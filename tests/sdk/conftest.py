"""The official SDK as every user has it, with the one thing that a test wants more: answers that are not of its types fail."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.fakes.server import LiveServer


@pytest.fixture
def client(server: LiveServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key="none", _strict_response_validation=True, max_retries=0) as client:
        yield client

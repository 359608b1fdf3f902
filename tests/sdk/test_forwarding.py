"""`client.embeddings` and the legacy `client.completions` against the real server: what the upstream says comes through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from stillhouse.route import Route
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from tests.fakes.server import LiveServer, add_upstream
from tests.fakes.upstream import FakeUpstream


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    data_dir: Path = tmp_path_factory.mktemp("forwarding") / "data"
    with FakeUpstream() as upstream:
        add_upstream(data_dir, upstream.base_url, "gpt-4o")
        store = open_store(Settings(data_dir=data_dir))
        store.put_route(Route(alias="mine", model="gpt-4o", created=1)).result()
        store.close()
        with LiveServer(data_dir) as server:
            yield server


@pytest.mark.parametrize("model", ["gpt-4o", "mine"])
def test_embeddings(client: openai.OpenAI, model: str) -> None:
    made = client.embeddings.create(model=model, input=["one", "three"], encoding_format="float")
    assert made.model == "gpt-4o"
    assert [each.embedding for each in made.data] == [[3.0, 0.0], [5.0, 1.0]]


def test_legacy_completions(client: openai.OpenAI) -> None:
    assert client.completions.create(model="gpt-4o", prompt="this").choices[0].text == "After this"
    streamed = client.completions.create(model="mine", prompt="that", stream=True)
    assert [chunk.choices[0].text for chunk in streamed] == ["After that"]


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="none", input="x")


async def test_the_async_client_too(server: LiveServer) -> None:
    async with openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        made = await client.embeddings.create(model="gpt-4o", input="four", encoding_format="float")
        assert made.data[0].embedding == [4.0, 0.0]
        assert (await client.completions.create(model="gpt-4o", prompt="this")).choices[0].text == "After this"

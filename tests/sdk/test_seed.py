"""The official SDK, newest, against the real server: what is created can be listed, read, changed and deleted again.

Strict response validation is on everywhere but for `messages.list`: the SDK's own type for stored messages allows no role but
`assistant`, so it refuses a user's message, as OpenAI's documentation shows one, from whatever server it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam
from pydantic import ValidationError

from tests.fakes.server import LiveServer, add_upstream
from tests.fakes.upstream import FakeUpstream, answer_to

METADATA = {"username": "user123", "user_id": "123", "session_id": "123"}
MESSAGES: list[ChatCompletionUserMessageParam] = [
    {"role": "user", "content": [{"type": "text", "text": "Why is the sky blue?"}, {"type": "text", "text": "In one line."}]}
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    data_dir: Path = tmp_path_factory.mktemp("sdk") / "data"
    with FakeUpstream() as upstream:
        add_upstream(data_dir, upstream.base_url, "gpt-4o", "org/model:tag")
        with LiveServer(data_dir) as server:
            yield server


def test_the_seed_snippet(client: openai.OpenAI, server: LiveServer) -> None:
    created = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, store=True, metadata=METADATA)
    assert created.id.startswith("chatcmpl-") and created._request_id is not None

    listed = client.chat.completions.list(metadata=METADATA)
    assert [item.id for item in listed.data] == [created.id]
    assert listed.data[0].choices[0].message.content == created.choices[0].message.content

    retrieved = client.chat.completions.retrieve(created.id)
    assert retrieved.metadata == METADATA
    assert retrieved.model_dump(exclude={"metadata"}) == created.model_dump(exclude={"metadata"})

    updated = client.chat.completions.update(created.id, metadata={"user_id": "124"})
    assert updated.metadata == {"user_id": "124"}
    assert client.chat.completions.list(metadata=METADATA).data == []
    assert client.chat.completions.update(created.id, metadata=None).metadata == {}

    deleted = client.chat.completions.delete(created.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (created.id, True, "chat.completion.deleted")
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve(created.id)


def test_messages(client: openai.OpenAI, server: LiveServer) -> None:
    created = client.chat.completions.create(
        model="gpt-4o",
        messages=[*MESSAGES, {"role": "assistant", "content": "Hm."}, {"role": "user", "content": "Well?"}],
        store=True,
    )
    with pytest.raises(openai.APIResponseValidationError) as refused:
        client.chat.completions.messages.list(created.id)
    cause = refused.value.__cause__
    assert isinstance(cause, ValidationError)
    assert {(problem["type"], problem["loc"][-1]) for problem in cause.errors()} == {("literal_error", "role")}

    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as lenient:
        page = lenient.chat.completions.messages.list(created.id, limit=2)
        assert [message.content for message in page.data] == ["Why is the sky blue?\nIn one line.", "Hm."]
        assert page.has_more and page.data[0].content_parts is not None
        messages = list(page)
        assert [message.role for message in messages] == ["user", "assistant", "user"]
        assert [message.content for message in messages][-1] == "Well?"
        backwards = lenient.chat.completions.messages.list(created.id, order="desc").data
        assert [message.id for message in backwards] == [message.id for message in reversed(messages)]


def test_streams_are_stored_as_one_completion(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, store=True, stream=True, stream_options={"include_usage": True}, n=2
    )
    chunks = list(stream)
    (identifier,) = {chunk.id for chunk in chunks}
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices if choice.index == 1)
    stored = client.chat.completions.retrieve(identifier)
    assert [choice.message.content for choice in stored.choices] == [text, text]
    assert text == answer_to({"messages": MESSAGES})
    assert stored.usage is not None and stored.usage.total_tokens == 18


def test_the_sdks_own_helpers(client: openai.OpenAI) -> None:
    parsed = client.chat.completions.parse(model="gpt-4o", messages=MESSAGES)
    with client.chat.completions.stream(model="gpt-4o", messages=MESSAGES) as events:
        assert [event.type for event in events][-1] == "content.done"
    assert events.get_final_completion().choices[0].message.content == parsed.choices[0].message.content


def test_lists_have_pages_filters_and_order(client: openai.OpenAI) -> None:
    made = [
        client.chat.completions.create(model="org/model:tag", messages=MESSAGES, store=True, metadata={"number": str(number)}).id
        for number in range(5)
    ]
    assert [item.id for item in client.chat.completions.list(model="org/model:tag", limit=2)] == made
    assert [item.id for item in client.chat.completions.list(model="org/model:tag", order="desc")] == made[::-1]
    page = client.chat.completions.list(model="org/model:tag", after=made[3])
    assert [item.id for item in page.data] == made[4:] and not page.has_more
    assert [item.id for item in client.chat.completions.list(metadata={"number": "3"})] == [made[3]]
    assert client.chat.completions.list(model="nobody").data == []


def test_models(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert {"gpt-4o", "org/model:tag", "builtin:base", "builtin:teacher", "stillhouse/tiny-llama"} <= set(listed)
    assert client.models.retrieve("org/model:tag").owned_by == "fake"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


@pytest.mark.parametrize(
    ("parameters", "error", "param"),
    [
        ({"metadata": {"k": "v" * 513}}, openai.BadRequestError, "metadata.k"),
        ({"metadata": {"k" * 65: "v"}}, openai.BadRequestError, "metadata"),
        ({"metadata": {str(number): "v" for number in range(17)}}, openai.BadRequestError, "metadata"),
        ({"model": "nobody"}, openai.NotFoundError, None),
        ({"n": 129}, openai.BadRequestError, "n"),
        ({"extra_body": {"store": "yes"}}, openai.BadRequestError, "store"),
    ],
)
def test_errors_are_the_sdks_own(
    client: openai.OpenAI, parameters: dict[str, Any], error: type[openai.APIStatusError], param: str | None
) -> None:
    with pytest.raises(error) as refused:
        client.chat.completions.create(**{"model": "gpt-4o", "messages": MESSAGES, "store": True, **parameters})
    assert refused.value.param == param and refused.value.request_id
    if error is openai.NotFoundError:
        assert refused.value.code == "model_not_found" and "gpt-4o" in refused.value.message


def test_a_broken_stream_is_an_error_of_the_sdk(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, store=True, stream=True, extra_body={"fault": {"cut_at": 700}}
    )
    with pytest.raises(openai.APIError, match="finish reason"):
        list(stream)


async def test_the_async_client(server: LiveServer) -> None:
    async with openai.AsyncOpenAI(base_url=server.url, api_key="none", _strict_response_validation=True, max_retries=0) as client:
        asked = [
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES, store=True, metadata={"kind": "async"})
            for _ in range(8)
        ]
        made = {completion.id for completion in await asyncio.gather(*asked)}
        stream = await client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, store=True, stream=True, metadata={"kind": "async"}
        )
        made.add({chunk.id async for chunk in stream}.pop())
        assert {item.id async for item in client.chat.completions.list(metadata={"kind": "async"}, limit=3)} == made
        one = min(made)
        assert (await client.chat.completions.update(one, metadata={"kind": "other"})).metadata == {"kind": "other"}
        assert (await client.chat.completions.retrieve(one)).metadata == {"kind": "other"}
        with pytest.raises(openai.NotFoundError):  # what is there is no answer in strict mode: see `test_messages`
            await client.chat.completions.messages.list("chatcmpl-none")
        assert (await client.chat.completions.parse(model="gpt-4o", messages=MESSAGES)).choices
        async with client.chat.completions.stream(model="gpt-4o", messages=MESSAGES) as events:
            assert [event.type async for event in events][-1] == "content.done"
        assert "gpt-4o" in {model.id async for model in client.models.list()}
        assert (await client.models.retrieve("gpt-4o")).owned_by
        for identifier in made:
            assert (await client.chat.completions.delete(identifier)).deleted


def test_retries_of_sdk_and_gateway_do_not_multiply(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with FakeUpstream() as upstream:
        add_upstream(data_dir, upstream.base_url, max_retries=1)
        with LiveServer(data_dir) as server, openai.OpenAI(base_url=server.url, api_key="none", max_retries=2) as client:
            with pytest.raises(openai.InternalServerError):
                client.chat.completions.create(
                    model="gpt-4o", messages=MESSAGES, store=True, extra_body={"fault": {"status": 503, "retry_after": 0}}
                )
            assert len(upstream.ledger) == 2
            client.chat.completions.create(
                model="gpt-4o", messages=MESSAGES, store=True, extra_body={"fault": {"status": [429], "retry_after": 0}}
            )
            assert len(upstream.ledger) == 4

"""`client.responses` of the official SDK against the real server: strict, sync and async, whole and streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

from tests.fakes.server import LiveServer, add_upstream
from tests.fakes.upstream import FakeUpstream, answer_to

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a place",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    "strict": True,
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream) -> Iterator[LiveServer]:
    data_dir: Path = tmp_path_factory.mktemp("responses") / "data"
    add_upstream(data_dir, upstream.base_url, "gpt-4o")
    with LiveServer(data_dir) as server:
        yield server


def asked(upstream: FakeUpstream) -> dict[str, Any]:
    """What the upstream was asked last."""
    return upstream.ledger[-1].body


def raw(**message: Any) -> dict[str, Any]:
    """The fault that has the upstream answer with this message."""
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": "stop", "logprobs": None}
    body = {"id": "up", "object": "chat.completion", "created": 1700000000, "model": "gpt-4o", "choices": [choice]}
    return {"fault": {"raw": json.dumps(body)}}


def streamed(*deltas: dict[str, Any], finish: str = "stop", done: bool = True) -> dict[str, Any]:
    chunk = {"id": "up", "object": "chat.completion.chunk", "created": 1700000000, "model": "gpt-4o"}
    events = [{**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    lines = [f"data: {json.dumps(event)}\n\n" for event in events] + (["data: [DONE]\n\n"] if done else [])
    return {"fault": {"raw": "".join(lines)}}


def test_a_response_is_stored_read_listed_and_deleted(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    made = client.responses.create(model="gpt-4o", input="Why is the sky blue?", instructions="Be brief.", metadata={"a": "b"})
    messages = asked(upstream)["messages"]
    assert [message["role"] for message in messages] == ["system", "user"]
    assert made.output_text == answer_to({"messages": messages})
    assert (made.status, made.usage and made.usage.total_tokens, made.metadata) == ("completed", 18, {"a": "b"})
    assert client.responses.retrieve(made.id).model_dump() == made.model_dump()
    (item,) = client.responses.input_items.list(made.id).data
    assert item.type == "message" and item.role == "user"
    completion = f"chatcmpl-{made.id.removeprefix('resp_')}"
    assert client.chat.completions.retrieve(completion).choices[0].message.content == made.output_text
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(made.id)
    client.responses.delete(made.id)
    for read in (client.responses.retrieve, client.responses.delete, client.chat.completions.retrieve):
        with pytest.raises(openai.NotFoundError):
            read(made.id if read != client.chat.completions.retrieve else completion)


def test_tokens_are_counted_by_who_has_the_tokenizer(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    said = {"fault": {"raw": json.dumps({"object": "response.input_tokens", "input_tokens": 7})}}
    counted = client.responses.input_tokens.count(model="gpt-4o", input="Hello?", extra_body=said)
    assert counted.input_tokens == 7 and upstream.ledger[-1].path == "/v1/responses/input_tokens"


def test_nothing_is_kept_where_store_is_false(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    made = client.responses.create(model="gpt-4o", input="Hello?", store=False)
    assert asked(upstream)["store"] is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_a_conversation_goes_on_by_the_response_before(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    first = client.responses.create(model="gpt-4o", input="One?", instructions="Only now.")
    second = client.responses.create(model="gpt-4o", input="Two?", previous_response_id=first.id)
    client.responses.create(model="gpt-4o", input="Three?", previous_response_id=second.id)
    said = [(message["role"], message["content"]) for message in asked(upstream)["messages"]]
    expected = [("user", "One?"), ("assistant", first.output_text), ("user", "Two?"), ("assistant", second.output_text)]
    assert said == [*expected, ("user", "Three?")]
    with pytest.raises(openai.BadRequestError, match="resp_none"):
        client.responses.create(model="gpt-4o", input="?", previous_response_id="resp_none")


def test_a_function_is_called_and_answered(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Oslo"}'}}
    made = client.responses.create(model="gpt-4o", input="Weather?", tools=[WEATHER], extra_body=raw(tool_calls=[call]))
    assert asked(upstream)["tools"][0]["function"]["name"] == "weather"
    (item,) = made.output
    assert item.type == "function_call" and (item.name, item.call_id) == ("weather", "call_1")
    result: Any = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
    client.responses.create(model="gpt-4o", input=[result], tools=[WEATHER], previous_response_id=made.id)
    roles = [message["role"] for message in asked(upstream)["messages"]]
    assert roles == ["user", "assistant", "tool"]
    assert asked(upstream)["messages"][1]["tool_calls"][0]["id"] == asked(upstream)["messages"][2]["tool_call_id"]


def test_a_stream_ends_in_the_response_that_is_stored(client: openai.OpenAI) -> None:
    with client.responses.stream(model="gpt-4o", input="Tell me.") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == final.output_text != ""
    stored = client.responses.retrieve(final.id)
    assert stored.output_text == text and stored.status == "completed" and stored.usage == final.usage


def test_calls_reasoning_and_text_are_streamed_as_items(client: openai.OpenAI) -> None:
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "reasoning_content": "Let me "},
        {"reasoning_content": "think."},
        {"content": "I will look."},
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"place": '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Oslo"}'}}]},
        {"tool_calls": [{"index": 1, "id": "call_2", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
    ]
    stream = client.responses.create(
        model="gpt-4o", input="?", tools=[WEATHER], stream=True, extra_body=streamed(*deltas, finish="tool_calls")
    )
    events = list(stream)
    final = final_of(events)
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call", "function_call"]
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert done == final.output
    added = [event.item.type for event in events if event.type == "response.output_item.added"]
    assert added == [item.type for item in final.output]
    arguments = "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta" and e.output_index == 2)
    assert json.loads(arguments) == {"place": "Oslo"}
    assert client.responses.retrieve(final.id).output == final.output


def test_an_answer_that_was_cut_short_says_so(client: openai.OpenAI) -> None:
    events = list(
        client.responses.create(model="gpt-4o", input="?", stream=True, extra_body=streamed({"content": "Half"}, finish="length"))
    )
    final = final_of(events)
    assert final.status == "incomplete" and final.incomplete_details is not None
    assert final.incomplete_details.reason == "max_output_tokens"


def test_a_broken_stream_is_never_complete(client: openai.OpenAI) -> None:
    events = list(
        client.responses.create(model="gpt-4o", input="?", stream=True, extra_body=streamed({"content": "Half"}, done=False))
    )
    last = events[-1]
    assert last.type == "response.failed" and last.response.error is not None
    assert client.responses.retrieve(last.response.id).status == "failed"


def test_structured_answers_are_parsed(client: openai.OpenAI, upstream: FakeUpstream) -> None:
    class Place(BaseModel):
        name: str

    made = client.responses.parse(model="gpt-4o", input="?", text_format=Place, extra_body=raw(content='{"name": "Oslo"}'))
    assert made.output_parsed == Place(name="Oslo")
    assert asked(upstream)["response_format"]["json_schema"]["schema"]["required"] == ["name"]


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"background": True}, "background"),
        ({"input": [{"type": "computer_call_output"}]}, "input.0"),
        ({"tools": [{"type": "web_search"}]}, "tools.0"),
        ({"truncation": "auto"}, "truncation"),
        ({"input": 3}, "input"),
        ({"include": ["file_search_call.results"]}, "include.0"),
    ],
)
def test_what_a_chat_cannot_do_is_refused(client: openai.OpenAI, upstream: FakeUpstream, parameters: Any, named: str) -> None:
    before = len(upstream.ledger)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**{"model": "gpt-4o", "input": "?", **parameters})
    assert refused.value.param == named and len(upstream.ledger) == before


async def test_the_async_client_too(server: LiveServer) -> None:
    async with openai.AsyncOpenAI(base_url=server.url, api_key="none", _strict_response_validation=True, max_retries=0) as client:
        made = await client.responses.create(model="gpt-4o", input=[{"role": "user", "content": "Hello?"}])
        assert (await client.responses.retrieve(made.id)).output_text == made.output_text
        items = [item async for item in client.responses.input_items.list(made.id, order="asc")]
        assert len(items) == 1
        with pytest.raises(openai.BadRequestError, match="background"):
            await client.responses.cancel(made.id)
        stream = await client.responses.create(model="gpt-4o", input="Again?", stream=True)
        events = [event async for event in stream]
        assert final_of(events).status == "completed"
        await client.responses.delete(made.id)
        assert (await client.responses.parse(model="gpt-4o", input="Hello?")).status == "completed"
        async with client.responses.stream(model="gpt-4o", input="Hello?") as helper:
            assert [event.type async for event in helper][-1] == "response.completed"
        said: Any = {"fault": {"raw": json.dumps({"object": "response.input_tokens", "input_tokens": 7})}}
        assert (await client.responses.input_tokens.count(model="gpt-4o", input="?", extra_body=said)).input_tokens == 7


def final_of(events: list[ResponseStreamEvent]) -> Response:
    """The response that the last event holds."""
    last = events[-1]
    assert last.type in ("response.completed", "response.incomplete")
    return last.response

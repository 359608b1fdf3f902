"""What a Responses request asks stands in the chat request: every field has its place, or is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from stillhouse.errors import InvalidParameterError
from stillhouse.responses import answered, chat_request, input_items, messages_of, skeleton


def test_fields_go_under_chats_names() -> None:
    asked = chat_request(
        {
            "model": "m",
            "input": "Hi",
            "instructions": "Brief.",
            "max_output_tokens": 7,
            "temperature": 0.5,
            "reasoning": {"effort": "low"},
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
            "include": ["message.output_text.logprobs"],
            "top_logprobs": 3,
            "tool_choice": {"type": "function", "name": "f"},
            "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": None}],
            "top_k": 5,
            "user": None,
        }
    )
    assert asked == {
        "model": "m",
        "messages": [{"role": "system", "content": "Brief."}, {"role": "user", "content": "Hi"}],
        "max_completion_tokens": 7,
        "temperature": 0.5,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        "verbosity": "low",
        "logprobs": True,
        "top_logprobs": 3,
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "top_k": 5,
    }


def test_parts_of_a_message_are_translated() -> None:
    content: Any = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:x"},
    ]
    (message,) = messages_of([{"type": "message", "role": "user", "content": content}])
    assert message["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:x"}},
    ]


def test_calls_that_follow_one_another_are_one_message() -> None:
    items: list[dict[str, Any]] = [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Wait."}]},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "b", "name": "g", "input": "x"},
        {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "1"}]},
        {"type": "custom_tool_call_output", "call_id": "b", "output": "2"},
    ]
    said, first, second = messages_of(items)
    assert said["content"] == "Wait." and [call["id"] for call in said["tool_calls"]] == ["a", "b"]
    assert (first["role"], first["tool_call_id"], first["content"]) == ("tool", "a", [{"type": "text", "text": "1"}])
    assert second["content"] == "2"


def test_what_was_answered_can_be_asked_again() -> None:
    message = {
        "reasoning_content": "Hm.",
        "content": "Look.",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    begun = skeleton({"model": "m", "input": "?"}, id="resp_1", created=1)
    response = answered(begun, {"choices": [{"message": message, "finish_reason": "tool_calls"}]})
    (again,) = messages_of(response["output"])
    assert again["content"] == message["content"] and again["tool_calls"] == message["tool_calls"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"conversation": "c"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"text": "json"}, "text"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input.0.role"),
        ({"input": [{"role": "user", "content": 3}]}, "input.0.content"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input.0.content.0"),
        ({"input": ["x"]}, "input"),
    ],
)
def test_what_has_no_place_in_a_chat_is_named(body: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        chat_request({"model": "m", "input": "?", **body})
    assert refused.value.param == named


def test_a_string_is_one_message() -> None:
    (item,) = input_items({"input": "Hi"})
    assert item["role"] == "user" and item["content"] == [{"type": "input_text", "text": "Hi"}]

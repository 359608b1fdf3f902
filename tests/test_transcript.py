"""Reading back what was said, from whatever bytes were kept."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.chat import Chunk
from stillhouse.transcript import answer_text, assemble, message_text, prompt_messages, prompt_text


def stream(*bodies: dict[str, Any]) -> bytes:
    return b"".join(Chunk.build(body).raw for body in bodies) + Chunk.done().raw


def part(index: int = 0, finish: str | None = None, logprobs: Any = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def test_text_deltas_become_one_message() -> None:
    raw = stream(
        part(role="assistant", content=""),
        part(content="Hel"),
        part(content="lo"),
        part(finish="stop"),
        {"id": "x", "choices": [], "usage": {"prompt_tokens": 1}},
    )
    assert assemble(raw, stream=True) == {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "usage": {"prompt_tokens": 1},
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "logprobs": None, "finish_reason": "stop"}
        ],
    }
    assert answer_text(raw, stream=True) == "Hello"


def test_choices_are_kept_apart_and_in_order() -> None:
    body = assemble(stream(part(1, content="b"), part(0, content="a"), part(1, content="B", finish="length")), stream=True)
    assert [(choice["index"], choice["message"]["content"], choice["finish_reason"]) for choice in body["choices"]] == [
        (0, "a", None),
        (1, "bB", "length"),
    ]


def test_tool_calls_are_put_together_by_index() -> None:
    def call(index: int, **fields: Any) -> dict[str, Any]:
        return part(tool_calls=[{"index": index, **fields}])

    raw = stream(
        call(0, id="call_a", type="function", function={"name": "look", "arguments": ""}),
        call(1, id="call_b", type="function", function={"name": "jump", "arguments": '{"h'}),
        call(0, function={"arguments": '{"x":'}),
        call(1, function={"arguments": '":2}'}),
        call(0, function={"arguments": "1}"}),
        part(finish="tool_calls"),
    )
    assert assemble(raw, stream=True)["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_a", "type": "function", "function": {"name": "look", "arguments": '{"x":1}'}},
            {"id": "call_b", "type": "function", "function": {"name": "jump", "arguments": '{"h":2}'}},
        ],
    }


def test_logprobs_refusals_and_unknown_fields_are_continued() -> None:
    raw = stream(
        part(refusal="I ", reasoning_content="think", logprobs={"content": [1], "refusal": None}),
        part(refusal="won't", reasoning_content="ing", logprobs={"content": [2], "refusal": None}),
    )
    choice = assemble(raw, stream=True)["choices"][0]
    assert choice["logprobs"] == {"content": [1, 2], "refusal": None}
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": "I won't", "reasoning_content": "thinking"}


def test_a_whole_body_is_read_as_it_is() -> None:
    body = {"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}], "unknown": 1}
    assert assemble(orjson.dumps(body), stream=False) == body


def test_the_text_of_a_prompt_is_all_its_text() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "image_url", "image_url": {"url": "u"}}, {"type": "text", "text": "two"}]
    request = orjson.dumps({"messages": [{"role": "system", "content": "zero"}, {"role": "user", "content": parts}, "odd"]})
    assert prompt_text(request) == "zero\none\ntwo"
    assert len(prompt_messages(request)) == 2
    assert message_text({"role": "assistant", "content": None}) == ""


def test_a_character_cut_in_two_between_events_is_whole_again() -> None:
    halves = [
        b'data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ude00b"}}]}\n\n',
    ]
    assert answer_text(b"".join(halves), stream=True) == "a\U0001f600b"


def test_a_prompt_with_half_a_character_is_still_read() -> None:
    assert prompt_text(b'{"messages":[{"role":"user","content":"half \\ud83d"}]}') == "half \ud83d"


KEYS = ["choices", "delta", "index", "message", "content", "tool_calls", "function", "role", "text", "messages", "logprobs"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(KEYS), json_values, max_size=4), max_size=4))
def test_no_json_is_too_odd_to_read(bodies: list[dict[str, Any]]) -> None:
    deltas = [{"choices": [{"index": 0, "delta": body}]} for body in bodies]
    for raw in (stream(*bodies), stream(*deltas)):
        assert isinstance(assemble(raw, stream=True), dict)
        answer_text(raw, stream=True)
    for body in bodies:
        answer_text(orjson.dumps(body), stream=False)
        prompt_text(orjson.dumps(body))


@settings(deadline=None)
@given(st.binary())
def test_no_bytes_are_too_odd_to_read(raw: bytes) -> None:
    for streamed in (True, False):
        assemble(raw, streamed)
        answer_text(raw, streamed)
    prompt_text(raw)

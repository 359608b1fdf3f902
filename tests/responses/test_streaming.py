"""However an answer is cut into chunks, its events tell the same items, and end in the response that the whole answer is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stillhouse.chat import Chunk
from stillhouse.responses import Events, answered, skeleton
from stillhouse.transcript import assemble

BEGUN = skeleton({"model": "m", "input": "?"}, id="resp_1", created=1)
TEXT = st.text(alphabet="ab 你\U0001f600", max_size=12)


def chunks_of(message: dict[str, Any], cuts: Sequence[int], finish: str) -> list[Chunk]:
    """The message as a stream: every string of it in pieces as long as `cuts` says, one after the other."""
    lengths = [*cuts, 100]

    def pieces(text: str) -> list[str]:
        found, begin = [], 0
        for length in lengths * (len(text) + 1):
            found.append(text[begin : begin + length])
            begin += length
            if begin >= len(text):
                break
        return found

    deltas: list[dict[str, Any]] = [{"role": "assistant"}]
    for name in ("reasoning_content", "content", "refusal"):
        deltas += [{name: piece} for piece in pieces(message.get(name) or "")]
    for index, call in enumerate(message.get("tool_calls") or ()):
        first, *rest = pieces(call["function"]["arguments"])
        deltas.append({"tool_calls": [{**call, "index": index, "function": {**call["function"], "arguments": first}}]})
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in rest]
    told: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    told.append({"index": 0, "delta": {}, "finish_reason": finish})
    return [Chunk.build({"id": "up", "created": 1, "model": "m", "choices": [choice]}) for choice in told]


def events_of(chunks: Sequence[Chunk]) -> list[dict[str, Any]]:
    events = Events(BEGUN)
    told = [*events.begin(), *(event for chunk in chunks for event in events.feed(chunk)), *events.end()]
    bodies = [event.body for event in told]
    assert all(body is not None for body in bodies)
    return [body for body in bodies if body is not None]


@given(
    reasoning=TEXT,
    content=TEXT,
    arguments=st.lists(TEXT, max_size=3),
    cuts=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    finish=st.sampled_from(["stop", "length", "tool_calls"]),
)
def test_events_tell_what_the_whole_answer_says(
    reasoning: str, content: str, arguments: list[str], cuts: list[int], finish: str
) -> None:
    calls = [
        {"id": f"call_{i}", "type": "function", "function": {"name": "f", "arguments": said}} for i, said in enumerate(arguments)
    ]
    message = {"reasoning_content": reasoning, "content": content, "tool_calls": calls}
    chunks = chunks_of(message, cuts, finish)
    events = events_of(chunks)
    whole = answered(BEGUN, assemble(b"".join(chunk.raw for chunk in chunks), True))
    assert events[-1]["response"] == whole
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == whole["output"]
    added = [event["item"]["id"] for event in events if event["type"] == "response.output_item.added"]
    assert added == [item["id"] for item in whole["output"]]
    said = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert said == content
    for index, item in enumerate(whole["output"]):
        if item["type"] == "function_call":
            kind = "response.function_call_arguments.delta"
            grown = [event["delta"] for event in events if event["type"] == kind and event["output_index"] == index]
            assert "".join(grown) == item["arguments"]


def test_an_item_comes_before_what_is_said_of_it_and_ends_after() -> None:
    events = events_of(chunks_of({"content": "Hello there"}, [3], "stop"))
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert set(kinds[4:-4]) == {"output_text.delta"}
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]


def test_a_stream_that_says_nothing_has_an_empty_message() -> None:
    events = events_of(chunks_of({}, [1], "stop"))
    (item,) = events[-1]["response"]["output"]
    assert (item["type"], item["content"][0]["text"]) == ("message", "")
    assert any(event["type"] == "response.output_item.added" for event in events)

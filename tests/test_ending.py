"""What counts as a whole answer, told from bytes alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.chat import ChatResponse
from stillhouse.ending import Ending, judge
from stillhouse.sse import iter_events
from tests.fakes.upstream import stream_body, whole_body

REQUEST: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}


def state_of(raw: bytes, choices: int = 1) -> str:
    ending = Ending(choices)
    for chunk in iter_events(raw):
        ending.see(chunk)
    return ending.verdict()[0]


@pytest.mark.parametrize("choices", [1, 3])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_a_stream_cut_at_any_byte_is_not_complete(choices: int, ends: str) -> None:
    request = {**REQUEST, "n": choices, "stream_options": {"include_usage": True}}
    raw = stream_body(request, 1).replace(b"\n", ends.encode())
    assert state_of(raw, choices) == "complete"
    # the CR that ends the last line makes the event whole; the line end after it adds nothing
    last = len(raw) - (1 if ends == "\r\n" else 0)
    states = [state_of(raw[:cut], choices) for cut in range(last)]
    assert set(states) == {"truncated"}


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ({"no_done": True}, "truncated"),
        ({"no_finish": 0}, "truncated"),
        ({"malformed": True}, "malformed"),
        ({"error_event": True}, "failed"),
        ({"comment": True}, "complete"),
        ({"twice": True}, "complete"),
    ],
)
def test_faults(fault: dict[str, Any], state: str) -> None:
    assert state_of(stream_body(REQUEST, 1, fault)) == state


def test_a_choice_whose_index_is_no_number_makes_the_stream_malformed() -> None:
    broken = b'data: {"choices": [{"index": "first", "delta": {}, "finish_reason": "stop"}]}\n\n'
    ending = Ending(1)
    for chunk in iter_events(broken + stream_body(REQUEST, 1)):
        ending.see(chunk)
    state, problem = ending.verdict()
    assert state == "malformed"
    assert "index is no whole number" in (problem or "")


def test_every_choice_needs_its_finish_reason() -> None:
    request = {**REQUEST, "n": 3}
    assert [state_of(stream_body(request, 1, {"no_finish": index}), 3) for index in range(3)] == ["truncated"] * 3
    assert state_of(stream_body(REQUEST, 1), choices=2) == "truncated"


def test_the_counts_and_the_upstreams_id_are_seen() -> None:
    ending = Ending(1)
    for chunk in iter_events(stream_body({**REQUEST, "stream_options": {"include_usage": True}}, 5)):
        ending.see(chunk)
    assert (ending.usage.prompt_tokens, ending.usage.completion_tokens) == (7, 11)
    assert (ending.upstream_id, ending.finish_reason) == ("up-5", "stop")


@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange(raw: bytes) -> None:
    assert state_of(raw) in ("truncated", "malformed", "failed")


def without(name: str) -> bytes:
    body = whole_body(REQUEST, 1)
    del body["choices"][0][name]
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("raw", "choices", "state"),
    [
        (json.dumps(whole_body(REQUEST, 1)).encode(), 1, "complete"),
        (json.dumps(whole_body(REQUEST, 1)).encode(), 2, "malformed"),
        (without("finish_reason"), 1, "truncated"),
        (without("message"), 1, "malformed"),
        (b"<html>", 1, "malformed"),
        (b"[]", 1, "malformed"),
        (b"", 1, "malformed"),
        (b'{"choices": []}', 1, "malformed"),
    ],
)
def test_whole_bodies(raw: bytes, choices: int, state: str) -> None:
    assert judge(ChatResponse(raw), choices)[0] == state

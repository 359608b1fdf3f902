"""Exchanges as lines: read once or twice they are the same, and what is not known to be whole stays out."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest

from stillhouse.completion import Completion
from stillhouse.formats.base import Quarantined
from stillhouse.formats.exchanges import Exchange, Origin, exchange_line, read_exchanges
from stillhouse.ids import new_id

REQUEST = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Why?"}], "metadata": {"task": "why"}}
RESPONSE = {
    "id": "chatcmpl-theirs",
    "created": 1_700_000_000,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "So."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}
PAIR = {"request": REQUEST, "response": RESPONSE}


def read(path: Path, *rows: object) -> list[Exchange | Quarantined]:
    path.write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    found = read_exchanges(path, Origin(upstream="elsewhere", model="some-model", may_train="no: terms"))
    return [item if isinstance(item, Quarantined) else item[1] for item in found]


def one(path: Path, row: object) -> Exchange:
    (found,) = read(path, row)
    assert isinstance(found, Exchange), found
    return found


def test_a_pair_of_bodies_becomes_a_complete_completion(tmp_path: Path) -> None:
    completion, request, response = one(tmp_path / "f", PAIR)
    assert orjson.loads(request) == REQUEST
    assert orjson.loads(response) == {**RESPONSE, "id": completion.id}
    assert (completion.state, completion.finish_reason, completion.created) == ("complete", "stop", 1_700_000_000)
    assert (completion.model, completion.upstream, completion.upstream_id) == ("gpt-4o", "elsewhere", "chatcmpl-theirs")
    assert (completion.prompt_tokens, completion.completion_tokens) == (3, 2)
    assert (completion.metadata, completion.may_train) == ({"task": "why"}, "no: terms")


def test_a_conversation_becomes_an_exchange(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    completion, request, response = one(tmp_path / "f", {"messages": messages})
    assert orjson.loads(request) == {"model": "some-model", "messages": messages[:1]}
    assert orjson.loads(response)["choices"][0]["message"]["content"] == "So."


def test_the_id_is_the_contents_and_sorts_by_its_time(tmp_path: Path) -> None:
    first, again = (one(tmp_path / "f", PAIR).completion.id for _ in range(2))
    assert first == again
    later = one(tmp_path / "f", {**PAIR, "response": {**RESPONSE, "created": 1_700_000_001}}).completion.id
    assert later > first
    assert new_id("chatcmpl") > later, "what is captured from now on still comes after"


def test_an_id_that_claims_to_be_from_the_future_is_not_believed(tmp_path: Path) -> None:
    ours = new_id("chatcmpl")
    assert one(tmp_path / "f", {**PAIR, "id": ours}).completion.id == ours
    future = "chatcmpl-" + "f" * 12 + "7" + "f" * 19
    assert one(tmp_path / "f", {**PAIR, "id": future}).completion.id != future


def test_one_id_with_two_contents_is_put_aside_and_with_one_is_not(tmp_path: Path) -> None:
    ours = new_id("chatcmpl")
    other = {**RESPONSE, "created": 1_700_000_009}
    first, same, clash = read(tmp_path / "f", {**PAIR, "id": ours}, {**PAIR, "id": ours}, {**PAIR, "id": ours, "response": other})
    assert first == same
    assert isinstance(clash, Quarantined) and "that of line 1" in clash.reason


def test_what_is_exported_reads_back_the_same(tmp_path: Path) -> None:
    before = one(tmp_path / "f", {**PAIR, "tags": ["good"], "id": new_id("chatcmpl")})
    (tmp_path / "g").write_bytes(exchange_line(*before))
    (found,) = read_exchanges(tmp_path / "g", Origin(upstream="x", model="y"))
    assert not isinstance(found, Quarantined)
    assert found[1] == before


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([], "not a JSON object"),
        ({"request": REQUEST}, "neither 'request' and 'response' nor 'messages'"),
        ({"request": {}, "response": RESPONSE}, "its request has no messages"),
        ({"request": REQUEST, "response": {"choices": []}}, "its response has no choices"),
        ({"request": REQUEST, "response": {"choices": [{"message": {}}]}}, "no finish reason"),
        ({"messages": [{"role": "user", "content": "Why?"}]}, "ends with a message of role 'user'"),
        ({**PAIR, "note": "a\0b"}, "a NUL character"),
    ],
)
def test_what_is_not_known_to_be_whole_is_put_aside(tmp_path: Path, row: object, reason: str) -> None:
    good, bad = read(tmp_path / "f", PAIR, row)
    assert isinstance(good, Exchange)
    assert isinstance(bad, Quarantined) and bad.line == 2 and reason in bad.reason


def test_half_a_character_leaves_as_the_escape_that_it_came_as() -> None:
    request = b'{"messages":[{"role":"user","content":"\\ud83d"}]}'
    response = b'{"choices":[{"message":{"content":"\\ude00"},"finish_reason":"stop"}]}'
    completion = Completion(
        id=new_id("chatcmpl"), created=1, state="complete", instance="i", requested_model="m", model="m", upstream="u"
    )
    row = json.loads(exchange_line(completion, request, response))
    assert row["request"] == json.loads(request)
    assert row["response"] == json.loads(response)

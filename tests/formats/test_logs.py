"""Other tools' logs become exchanges, entry by entry; every entry is taken or put aside with its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.chat import parse_json
from stillhouse.formats.base import Quarantined
from stillhouse.formats.exchanges import LOGS, Exchange, Origin
from stillhouse.formats.exchanges.entries import read_log

MESSAGES = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "你好?"}]
ANSWER = {"role": "assistant", "content": "Hello."}
COMPLETION = {"id": "x", "model": "m", "choices": [{"index": 0, "message": ANSWER, "finish_reason": "stop"}]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "messages", "choices", "x"]), inner)
    ),
    max_leaves=8,
)
FIELDS = [
    "type",
    "input",
    "output",
    "model",
    "messages",
    "response",
    "prompt",
    "provider",
    "startTime",
    "metadata",
    "vars",
    "status",
]

LANGFUSE = {
    "id": "obs-1",
    "type": "GENERATION",
    "traceId": "t-1",
    "model": "gpt-4o",
    "startTime": "2026-01-02T03:04:05.000Z",
    "modelParameters": {"temperature": 0.5},
    "input": MESSAGES,
    "output": ANSWER,
    "usageDetails": {"input": 3, "output": 2},
    "metadata": {"user": "u", "deep": {"a": 1}},
}
LITELLM = {
    "request_id": "chatcmpl-1",
    "model": "openai/gpt-4o",
    "custom_llm_provider": "openai",
    "startTime": "2026-01-02T03:04:05+00:00",
    "status": "success",
    "messages": json.dumps(MESSAGES),
    "response": json.dumps(COMPLETION),
    "request_tags": ["prod"],
    "end_user": "u",
}
PROMPTFOO = {
    "provider": {"id": "openai:chat:gpt-4o"},
    "prompt": {"raw": json.dumps(MESSAGES), "label": "p"},
    "vars": {"user": "u"},
    "response": {"output": "Hello."},
    "success": True,
}


def read(tool: str, path: Path) -> list[Exchange | Quarantined]:
    found = read_log(path, LOGS.resolve(tool), Origin("log", "unknown"))
    return [each if isinstance(each, Quarantined) else each[1] for each in found]


@pytest.mark.parametrize(
    ("tool", "entry", "holder"),
    [
        ("langfuse", LANGFUSE, None),
        ("langfuse", {**LANGFUSE, "input": {"messages": MESSAGES}, "output": [ANSWER]}, "data"),
        ("litellm", LITELLM, None),
        ("litellm", {**LITELLM, "messages": None, "proxy_server_request": {"messages": MESSAGES}}, "data"),
        ("promptfoo", PROMPTFOO, "results"),
    ],
)
def test_an_entry_is_an_exchange(tool: str, entry: dict[str, Any], holder: str | None, tmp_path: Path) -> None:
    array, lines = tmp_path / "a.json", tmp_path / "a.jsonl"
    array.write_text(json.dumps({holder: {"results": [entry]} if tool == "promptfoo" else [entry]} if holder else [entry]))
    lines.write_text(json.dumps(entry) + "\n" + json.dumps(entry) + "\n")
    (one,), two = read(tool, array), read(tool, lines)
    assert isinstance(one, Exchange) and [one, one] == two
    assert one.completion.model == "gpt-4o" and one.completion.state == "complete"
    assert parse_json(one.request)["messages"] == MESSAGES
    assert parse_json(one.response)["choices"][0]["message"]["content"] == "Hello."
    assert "u" in one.completion.metadata.values()
    if tool != "promptfoo":
        assert one.completion.created == 1767323045
    if tool == "langfuse":
        assert (one.completion.prompt_tokens, one.completion.metadata["deep"]) == (3, '{"a": 1}')
        assert parse_json(one.request)["temperature"] == 0.5


@pytest.mark.parametrize(
    ("tool", "entry", "reason"),
    [
        ("langfuse", {**LANGFUSE, "type": "SPAN"}, "no call of a model"),
        ("langfuse", {**LANGFUSE, "level": "ERROR"}, "failed"),
        ("langfuse", {**LANGFUSE, "output": None}, "holds no answer"),
        ("litellm", {**LITELLM, "messages": {}}, "prompt was not kept"),
        ("litellm", {**LITELLM, "status": "failure"}, "failed"),
        ("promptfoo", {"vars": {}, "assert": []}, "tests, not results"),
    ],
)
def test_what_cannot_be_learned_from_is_put_aside(tool: str, entry: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([entry]))
    (aside,) = read(tool, path)
    assert isinstance(aside, Quarantined) and reason in aside.reason


@given(tool=st.sampled_from(LOGS.names()), entries=st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON, max_size=4))
def test_every_entry_is_taken_or_put_aside(tool: str, entries: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("log") / "a.json"
    path.write_text(json.dumps(entries))
    assert len(read(tool, path)) == len(entries)

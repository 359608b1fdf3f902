"""Requests, responses and chunks: bytes kept, parsed lazily, one value spliced."""

from __future__ import annotations

import pytest

from stillhouse.chat import ChatRequest, ChatResponse, Chunk, Usage
from stillhouse.errors import UsageError


def test_request_reads_what_it_needs_and_keeps_the_bytes() -> None:
    raw = b'{ "model":"gpt-4o", "store":true, "n":2, "x-new-field":1.50, "metadata":{"a":"b"},"messages":[] ,"stream":true}'
    request = ChatRequest(raw)
    assert (request.model, request.store, request.stream, request.n, request.metadata) == ("gpt-4o", True, True, 2, {"a": "b"})
    assert request.raw is raw


def test_another_model_changes_no_other_byte() -> None:
    raw = b'{"messages":[{"role":"user","content":"model"}],  "model" : "alias","temperature":1.0}'
    assert ChatRequest(raw).with_model("student-1").raw == raw.replace(b'"alias"', b'"student-1"')


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"', b"\xff"])
def test_bodies_that_are_no_object_are_the_callers_mistake(raw: bytes) -> None:
    with pytest.raises(UsageError, match="request body"):
        _ = ChatRequest(raw).body


def test_fields_of_a_wrong_type_read_as_absent() -> None:
    request = ChatRequest(b'{"model":1,"messages":{},"metadata":[],"n":true,"store":"true","stream":1}')
    assert (request.model, request.messages, request.metadata, request.n) == ("", [], {}, 1)
    assert not request.store
    assert not request.stream


def test_response_text_usage_and_id() -> None:
    response = ChatResponse.build({"id": "a", "choices": [{"message": {"content": "hi"}}], "usage": {"prompt_tokens": 3}})
    assert (response.id, response.text, response.usage.prompt_tokens, response.usage.completion_tokens) == ("a", "hi", 3, None)
    assert response.with_id("b").body == {**response.body, "id": "b"}


def test_response_that_is_not_json_is_empty_not_an_error() -> None:
    response = ChatResponse(b"<html>")
    assert (response.body, response.text, response.id, response.choices) == ({}, "", None, [])


def test_chunk_of_an_event() -> None:
    chunk = Chunk.build({"id": "a", "choices": [{"index": 1, "finish_reason": "stop"}, {"index": 0, "delta": {}}]})
    assert chunk.finish_reasons == {1: "stop"}
    assert chunk.with_id("b").body == {**(chunk.body or {}), "id": "b"}
    assert not chunk.is_done
    assert Chunk.done().is_done
    assert Chunk.done().with_id("b").raw == b"data: [DONE]\n\n"


def test_chunk_with_broken_data_is_malformed_and_left_alone() -> None:
    chunk = Chunk(b'data: {"id"\n\n', b'{"id"')
    assert chunk.malformed
    assert chunk.with_id("b") is chunk
    assert not Chunk(b": ping\n\n", None).malformed


@pytest.mark.parametrize("index", ['"first"', "[0]", "{}", "1.5", "true", '"0"', "1e999"])
def test_a_choice_whose_index_is_no_whole_number_is_malformed(index: str) -> None:
    data = b'{"choices":[{"index":%b,"finish_reason":"stop"}]}' % index.encode()
    chunk = Chunk(b"data: " + data + b"\n\n", data)
    assert (chunk.malformed, chunk.finish_reasons) == (True, {})


def test_a_choice_without_an_index_is_the_first() -> None:
    for index in ({}, {"index": None}):
        chunk = Chunk.build({"choices": [{**index, "finish_reason": "stop"}]})
        assert (chunk.malformed, chunk.finish_reasons) == (False, {0: "stop"})


def test_usage_of_nonsense_is_unknown() -> None:
    assert Usage.of({"usage": {"prompt_tokens": "3"}}).prompt_tokens is None
    assert Usage.of({}).completion_tokens is None

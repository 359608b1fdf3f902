"""Whatever body comes, it becomes parameters within bounds or the caller's mistake, never anything else."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.chat import ChatRequest
from stillhouse.errors import UsageError
from stillhouse.generation import REFUSED, Generation, read_generation, text_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = [*Generation.model_fields, "max_completion_tokens", "tools", "response_format", "user"]


@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_any_body_is_read_or_refused(body: dict[str, Any]) -> None:
    try:
        generation = read_generation(ChatRequest(orjson.dumps({"messages": [{"role": "user"}], **body})))
    except UsageError:
        return
    assert Generation.model_validate(generation.model_dump(mode="json")) == generation


def test_openais_spellings() -> None:
    message = {"role": "user", "content": "hi", "name": "ann"}
    generation = read_generation(
        ChatRequest.build(
            "x",
            [message],
            stop="END",
            max_completion_tokens=7,
            max_tokens=9,
            temperature=None,
            tools=[],
            response_format={"type": "text"},
        )
    )
    assert (generation.stop, generation.max_tokens, generation.temperature) == (("END",), 7, 1.0)
    assert generation.messages == ({"role": "user", "content": "hi"},)


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_student_cannot_do_is_refused_by_name(name: str) -> None:
    request = ChatRequest.build("x", [{"role": "user", "content": "hi"}], **{name: {"50256": -100}})
    with pytest.raises(UsageError, match=f"'{name}' is not supported by a student"):
        read_generation(request)


def test_the_text_of_a_message() -> None:
    assert text_of({"role": "user", "content": None}) == ""
    assert text_of({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}) == "ab"


@pytest.mark.parametrize(
    ("content", "named"),
    [([{"type": "input_audio"}], "'input_audio'"), ([{"type": "text", "text": 5}], "'text'"), (["a"], "'str'"), (5, "got int")],
)
def test_content_that_is_no_text_is_refused_by_its_type(content: object, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        text_of({"role": "user", "content": content})

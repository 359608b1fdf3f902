"""What was thought, kept apart from what was said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.reasoning.thinking import Spoken, split_text, split_thinking, with_thinking


@pytest.mark.parametrize(
    ("message", "thinking", "text"),
    [
        ({"content": "4", "reasoning_content": "2 + 2"}, "2 + 2", "4"),
        ({"content": "4", "reasoning": "2 + 2"}, "2 + 2", "4"),
        ({"content": "4", "reasoning_content": None, "reasoning": " "}, "", "4"),
        ({"content": "<think>\n2 + 2\n</think>\n\n4"}, "2 + 2", "4"),
        ({"content": "2 + 2</think>4"}, "2 + 2", "4"),
        ({"content": "<think>2 + 2, so"}, "2 + 2, so", ""),
        ({"content": "<think></think>4"}, "", "4"),
        ({"content": "<think>a</think> <think>b</think> 4"}, "a\n\nb", "4"),
        ({"content": "Write <think> to think."}, "", "Write <think> to think."),
        ({"content": "<think>a</think>4", "reasoning_content": "b"}, "b", "4"),
        ({"content": None, "reasoning_content": "b"}, "b", ""),
        ({"content": [{"type": "text", "text": "4"}]}, "", "4"),
        ({}, "", ""),
    ],
)
def test_the_two_parts(message: dict[str, Any], thinking: str, text: str) -> None:
    assert split_thinking(message) == Spoken(thinking, text)


@given(
    st.text(st.characters(exclude_characters="<>"), min_size=1).filter(str.strip), st.text(st.characters(exclude_characters="<>"))
)
def test_what_a_student_learns_both_from_is_split_again(thinking: str, text: str) -> None:
    spoken = Spoken(thinking.strip(), text.strip())
    assert split_text(with_thinking(spoken)) == spoken


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", " ", "\n"]), max_size=12))
def test_no_text_is_lost(parts: list[str]) -> None:
    spoken = split_text("".join(parts))
    assert (spoken.thinking + spoken.text).count("a") == parts.count("a")

"""Rationale and statement of an answer, by the template it was written in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.reasoning.parts import parts_of_answer
from stillhouse.reasoning.templates import TEMPLATES, template_of

SAMPLE = {"question": "2 and 3?", "reasoning_completion": "2 + 3 = 5.", "answer": "5"}


@pytest.mark.parametrize(
    ("template", "rationale", "final"),
    [
        ("ft_natural", "", " 5"),
        ("ft_token", "", " 5"),
        ("ft_cot_natural", " 2 + 3 = 5.\n\n", " 5"),
        ("ft_cot_token", " 2 + 3 = 5. ", " 5"),
    ],
)
def test_what_a_template_teaches_comes_apart(template: str, rationale: str, final: str) -> None:
    parts = parts_of_answer(template_of(template).teach(SAMPLE), template)
    assert (parts.rationale, parts.final) == (rationale, final)


def test_without_a_template_the_sentence_that_states_the_answer_is_looked_for() -> None:
    assert parts_of_answer("2 + 3 = 5. So the answer is 5.") == ("2 + 3 = 5.", " So the answer is 5.", "5")
    assert parts_of_answer("five") == ("", "five", "five")


@given(st.text(), st.sampled_from([*TEMPLATES, "chat", "unknown"]))
def test_the_parts_are_the_answer(answer: str, template: str) -> None:
    parts = parts_of_answer(answer, template)
    assert parts.rationale + parts.statement == answer

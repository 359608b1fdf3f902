"""Answers found and compared by the rules of their type."""

from __future__ import annotations

from typing import Any

import pytest

from stillhouse.graders.building import GraderConfigError, build
from stillhouse.sample import sample_of


async def passes(answers: str, reference: str, answer: str, **more: Any) -> bool:
    grader = build({"type": "typed_answer", "name": "it", "answers": answers, **more})
    return (await grader.grade({"reference": reference}, sample_of(answer))).passed


@pytest.mark.parametrize(
    ("answers", "reference", "answer", "passed"),
    [
        ("number", "1000", "3 more, so she pays $1,000.00.", True),
        ("number", "1000", "Answer: 1,000 km, not 900", True),
        ("number", "Two and two. The answer is 4.", "It is 4", True),
        ("number", "4", "<think>It is 4, no, 5</think>The answer is 5.", False),
        ("number", "4", "no idea", False),
        ("choice:A-F", "(F)", "So the answer is f.", False),
        ("choice:A-F", "(F)", "So the answer is (F).", True),
        ("yes_no", "Yes", "I think so. Answer: **yes**", True),
        ("date", "05/01/2021", "The answer is May 1, 2021.", True),
        ("latex", "1/2", r"Hence \boxed{\frac{1}{2}}", True),
        ("letters", "yajo", "yajo", True),
    ],
)
async def test_by_type(answers: str, reference: str, answer: str, passed: bool) -> None:
    assert await passes(answers, reference, answer) is passed


async def test_the_template_says_where_the_answer_stands_and_the_rule_how_it_is_compared() -> None:
    assert await passes("number", "5", "2 and 3 --> 5", template="ft_cot_token")
    assert not await passes("number", "5", "2 and 3 is 5, or 6", template="zs_cot")
    assert await passes("paper_number", "5", "5.", template="zs_cot", rule="published")
    assert not await passes("paper_number", "5", "5.0", template="zs_cot", rule="published")
    assert await passes("paper_number", "5", "5.0", template="zs_cot")


async def test_a_reason_says_what_was_wanted() -> None:
    grader = build({"type": "typed_answer", "name": "it", "answers": "number"})
    graded = await grader.grade({"reference": "4"}, sample_of("The answer is 5."))
    assert (graded.score, graded.reason) == (0.0, "expected '4', got '5'")


def test_a_type_that_is_none_is_refused_with_the_field() -> None:
    with pytest.raises(GraderConfigError, match="There is no answer type") as raised:
        build({"type": "typed_answer", "name": "it", "answers": "vowel"})
    assert raised.value.param == "grader.answers"

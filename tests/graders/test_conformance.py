"""What every grader must do, over the whole registry: the built-in ones and any a plugin adds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.dataset import Example
from stillhouse.grade import Grader
from stillhouse.graders import GRADERS

TEXTS = ["yes", "card_arrival", "1,000", "可以。", "答案是「四十二」", "Größe", "🙂", "a\nb", "C++"]


@pytest.fixture(params=GRADERS.names())
def grader(request: pytest.FixtureRequest) -> Grader:
    built: Grader = GRADERS.resolve(request.param)()
    assert built.name == request.param
    return built


def example(answer: str, reference: str | None = None) -> Example:
    return Example(id="e", messages=[{"role": "user", "content": "?"}], answer=answer, reference=reference)


@pytest.mark.parametrize("text", TEXTS)
async def test_the_reference_itself_passes(grader: Grader, text: str) -> None:
    grade = await grader.grade(example("something else entirely", text), text)
    assert grade.passed
    assert grade.score == 1


@pytest.mark.parametrize("text", TEXTS)
async def test_without_a_reference_the_answer_is_the_reference(grader: Grader, text: str) -> None:
    assert (await grader.grade(example(text), text)).passed


@pytest.mark.parametrize("text", TEXTS)
async def test_a_different_answer_fails_and_says_what_was_wanted(grader: Grader, text: str) -> None:
    grade = await grader.grade(example(text), "no such thing 7")
    assert not grade.passed
    assert grade.reason


@pytest.mark.parametrize("text", TEXTS)
async def test_an_empty_answer_fails_and_never_raises(grader: Grader, text: str) -> None:
    for empty in ("", " ", "\n", "。"):
        assert not (await grader.grade(example(text), empty)).passed


@given(reference=st.text(max_size=60), answer=st.text(max_size=60))
@pytest.mark.parametrize("name", GRADERS.names())
async def test_any_two_texts_get_a_score_between_0_and_1_twice_the_same(name: str, reference: str, answer: str) -> None:
    grader: Grader = GRADERS.resolve(name)()
    grade = await grader.grade(example("x", reference), answer)
    assert 0 <= grade.score <= 1
    assert grade.passed == (grade.score == 1)
    assert grade == await grader.grade(example("x", reference), answer)


@given(text=st.text(max_size=60))
@pytest.mark.parametrize("name", GRADERS.names())
async def test_any_text_equals_itself(name: str, text: str) -> None:
    grader: Grader = GRADERS.resolve(name)()
    assert (await grader.grade(example("x", text), text)).passed

"""What every grader must do, over the whole registry: the built-in ones and any a plugin adds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.grade import Grade, Grader, GradingError
from stillhouse.graders import GRADERS
from stillhouse.graders.building import parse_config
from stillhouse.sample import sample_of
from tests.graders.cases import CONFIGS, grader

TEXTS = ["yes", "card_arrival", "1,000", "可以。", "答案是「四十二」", "Größe", "🙂", "a\nb", "C++", "{{item.x}}", '{"a": 1}']
KINDS = GRADERS.names()
QUICK = [kind for kind in KINDS if kind != "python"]
"""Those that answer in microseconds; a process a grade is too dear for hundreds of them, and TEXTS asks it often enough."""
BEST = {"pairwise": 0.5}
"""The score of the reference itself, where it is not 1: two equal answers are a tie."""


def test_every_kind_has_a_case() -> None:
    assert sorted(CONFIGS) == KINDS


@pytest.fixture(params=KINDS)
def built(request: pytest.FixtureRequest) -> Grader:
    return grader(request.param)


async def grade(grader: Grader, reference: str, answer: str) -> Grade:
    return await grader.grade({"reference": reference}, sample_of(answer))


@pytest.mark.parametrize("kind", KINDS)
def test_its_name_is_the_one_it_was_given_and_its_configuration_comes_back_as_it_was_sent(kind: str) -> None:
    sent = {"type": kind, "name": kind, **CONFIGS[kind]}
    assert grader(kind).name in (kind, f"my {kind}")
    assert parse_config(sent).as_sent() == sent


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", KINDS)
async def test_the_reference_itself_passes_with_the_highest_score(kind: str, text: str) -> None:
    graded = await grade(grader(kind), text, text)
    assert graded.passed
    assert graded.score == BEST.get(kind, 1)


@pytest.mark.parametrize("text", TEXTS)
async def test_a_different_answer_fails_and_says_why(built: Grader, text: str) -> None:
    graded = await grade(built, text, "no such thing 7")
    assert not graded.passed
    assert graded.score < 0.5 or built.name == "my text_similarity"
    assert graded.reason


@pytest.mark.parametrize("text", TEXTS)
async def test_an_empty_answer_fails_and_never_raises(built: Grader, text: str) -> None:
    for empty in ("", " ", "\n", "。"):
        assert not (await grade(built, text, empty)).passed


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "rubric"])
async def test_what_cannot_be_graded_is_an_error_and_never_a_0(kind: str) -> None:
    """A rubric marks without a reference, too."""
    with pytest.raises(GradingError, match="reference") as raised:
        await grader(kind).grade({"question": "?"}, sample_of("yes"))
    assert raised.value.fault in ("invalid_variable_error", "python_grader_runtime_error")


@given(reference=st.text(max_size=60), answer=st.text(max_size=60))
@settings(max_examples=20)
@pytest.mark.parametrize("kind", QUICK)
async def test_any_two_texts_get_a_score_between_0_and_1_twice_the_same(kind: str, reference: str, answer: str) -> None:
    built = grader(kind)
    graded = await grade(built, reference, answer)
    assert 0 <= graded.score <= 1
    assert graded.passed == (graded.score >= BEST.get(kind, 1))
    assert graded == await grade(built, reference, answer)
    assert Grade.model_validate_json(graded.json_bytes()) == graded


@given(text=st.text(max_size=60))
@settings(max_examples=20)
@pytest.mark.parametrize("kind", QUICK)
async def test_any_text_equals_itself(kind: str, text: str) -> None:
    assert (await grade(grader(kind), text, text)).passed

"""Uncertainty: the planted doubtful texts come first, by each definition of doubt."""

from __future__ import annotations

import math

import pytest

from stillhouse.chat import ChatResponse
from stillhouse.selectors.base import Opinion, Pool, Token, opinion_of
from stillhouse.selectors.chain import selector_of
from tests.selectors.pools import opinion

SURE, TORN, LOST = opinion(0.97, 0.02, 0.01), opinion(0.5, 0.49, 0.01), opinion(0.4, 0.2, 0.2, 0.2)


def order(by: str, *opinions: Opinion | None) -> list[int]:
    pool = Pool(ids=tuple(f"id{place}" for place in range(len(opinions))), opinions=opinions)
    return [pick.place for pick in selector_of(by).select(pool, len(opinions))]


@pytest.mark.parametrize(("by", "expected"), [("least_confidence", [2, 1, 0]), ("margin", [1, 2, 0]), ("entropy", [2, 1, 0])])
def test_each_has_its_own_idea_of_doubt(by: str, expected: list[int]) -> None:
    assert order(by, SURE, TORN, LOST) == expected


def test_margin_finds_a_planted_boundary() -> None:
    """A student that is sure on both sides of x = 0 and torn at it."""
    xs = [(place - 50) / 10 for place in range(101)]
    opinions = [opinion(p := 1 / (1 + math.exp(-3 * x)), 1 - p) for x in xs]
    assert sorted(order("margin", *opinions)[:11]) == list(range(45, 56))


def test_scores_are_the_textbooks() -> None:
    pool = Pool(ids=("id0",), opinions=(opinion(0.5, 0.3, 0.2),))
    scores = {by: selector_of(by).select(pool, 1)[0].score for by in ("least_confidence", "margin", "entropy")}
    nats = -sum(p * math.log(p) for p in (0.5, 0.3, 0.2))
    assert scores == pytest.approx({"least_confidence": 0.5, "margin": 0.8, "entropy": nats})


def test_what_the_likeliest_leave_over_counts_in_the_entropy() -> None:
    assert order("entropy", opinion(0.5, 0.5), opinion(0.5, 0.1)) == [1, 0]


def test_a_long_answer_is_not_doubtful_for_its_length() -> None:
    long, short = Opinion("x", (Token(0.9, (0.9, 0.1)),) * 20), Opinion("y", (Token(0.8, (0.8, 0.2)),))
    assert order("least_confidence", long, short) == [1, 0]


def test_an_unanswered_text_is_left_out() -> None:
    assert order("margin", None, TORN) == [1]


def test_an_opinion_is_read_from_a_response() -> None:
    entry = {"token": "a", "logprob": math.log(0.75), "top_logprobs": [{"logprob": math.log(0.25)}, {"logprob": math.log(0.75)}]}
    body = {"choices": [{"message": {"content": "a"}, "logprobs": {"content": [entry]}}]}
    read = opinion_of(ChatResponse.build(body))
    assert read is not None and read.answer == "a"
    assert read.tokens[0].likeliest == pytest.approx((0.75, 0.25))
    assert opinion_of(ChatResponse.build({"choices": [{"message": {"content": "b"}}]})) == Opinion("b")
    assert opinion_of(ChatResponse.build({"choices": []})) is None


def test_disagreement_picks_where_the_final_answers_differ_the_surest_first() -> None:
    opinions = (opinion(0.6, 0.4, answer="Yes."), opinion(0.9, 0.1, answer="no"), opinion(0.7, 0.3, answer="no"), None)
    pool = Pool(ids=("a", "b", "c", "d"), opinions=opinions, answers=("The answer is yes", "yes", "yes", "yes"))
    assert [pick.place for pick in selector_of("disagreement").select(pool, 9)] == [1, 2]

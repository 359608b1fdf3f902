"""How far numbers are off: what equality of texts does not say of a regression."""

from __future__ import annotations

import pytest

from stillhouse.evaluation.numbers import number_fit
from stillhouse.grade import Answered


def rows(*pairs: tuple[str | None, str]) -> list[Answered]:
    return [Answered(example=str(i), model="m", answer=answer, label=label) for i, (answer, label) in enumerate(pairs)]


def test_answers_near_the_labels_have_a_small_error_and_a_high_correlation() -> None:
    fit = number_fit(rows(("1.1", "1"), ("1.9", "2"), ("3.1", "3"), (None, "4"), ("many", "5")))
    assert fit is not None and fit.answers == 3
    assert fit.root_mean_square == pytest.approx(0.1)
    assert fit.correlation == pytest.approx(0.9934, abs=1e-3)


def test_the_wrong_way_round_is_a_negative_correlation_and_one_answer_to_all_is_none() -> None:
    turned, same = number_fit(rows(("3", "1"), ("2", "2"), ("1", "3"))), number_fit(rows(("2", "1"), ("2", "3")))
    assert turned is not None and turned.correlation == pytest.approx(-1)
    assert same is not None and same.correlation is None and same.root_mean_square == 1


@pytest.mark.parametrize("label", ["card", "", "nan", "inf"])
def test_labels_that_are_no_numbers_have_no_such_measure(label: str) -> None:
    assert number_fit(rows(("1", "1"), ("2", "2"), ("3", label))) is None

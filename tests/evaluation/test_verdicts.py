"""The verdict and its interval: against an independent maximisation, against simulated truth, and where nothing differs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.evaluation.intervals import Z_95, paired_score_interval
from stillhouse.evaluation.verdicts import non_inferiority

COUNTS = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 200)).filter(lambda each: sum(each) > 0)


def score(better: int, worse: int, total: int, delta: float) -> float:
    """Tango's statistic from its definition: the share that only the second passes is found by searching, not by the formula."""
    low, high = max(0.0, -delta), (1 - delta) / 2
    shares = np.linspace(low, high, 200_001)[1:-1]
    same = total - better - worse
    likelihood = (
        better * np.log(np.maximum(shares + delta, 1e-300))
        + worse * np.log(np.maximum(shares, 1e-300))
        + same * np.log(np.maximum(1 - 2 * shares - delta, 1e-300))
    )
    fewer = float(shares[int(np.argmax(likelihood))])
    return (better - worse - total * delta) / math.sqrt(total * (2 * fewer + delta - delta**2))


@pytest.mark.parametrize(("better", "worse", "total"), [(12, 2, 50), (0, 1, 44), (9, 16, 32), (3, 3, 200), (1, 0, 10)])
def test_the_interval_ends_where_the_statistic_is_the_quantile(better: int, worse: int, total: int) -> None:
    interval = paired_score_interval(better, worse, total)
    assert score(better, worse, total, interval.low) == pytest.approx(Z_95, abs=0.01)
    assert score(better, worse, total, interval.high) == pytest.approx(-Z_95, abs=0.01)


@pytest.mark.parametrize("total", [1, 10, 1000])
def test_where_nothing_differs_it_still_knows_how_little_it_knows(total: int) -> None:
    interval = paired_score_interval(0, 0, total)
    assert interval.high == pytest.approx(Z_95**2 / (total + Z_95**2), abs=1e-9)
    assert interval.low == pytest.approx(-interval.high, abs=1e-9)


@given(COUNTS)
def test_the_interval_holds_the_estimate_stays_in_range_and_has_a_mirror(counts: tuple[int, int, int]) -> None:
    better, worse, same = counts
    total = better + worse + same
    interval, mirrored = paired_score_interval(better, worse, total), paired_score_interval(worse, better, total)
    assert -1 <= interval.low <= interval.value <= interval.high <= 1
    assert (interval.low, interval.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-9)


@pytest.mark.parametrize(("better", "worse", "total"), [(0.1, 0.1, 50), (0.2, 0.05, 40), (0.01, 0.04, 200), (0.0, 0.02, 100)])
def test_it_covers_the_truth(better: float, worse: float, total: int) -> None:
    drawn = np.random.default_rng(3).multinomial(total, [better, worse, 1 - better - worse], size=1000)
    intervals = [paired_score_interval(int(b), int(w), total) for b, w, _ in drawn]
    covered = sum(interval.low <= better - worse <= interval.high for interval in intervals)
    assert 0.92 <= covered / 1000 <= 1


@pytest.mark.parametrize(
    ("better", "worse", "total", "outcome"),
    [
        (0, 0, 2000, "non_inferior"),
        (5, 5, 2000, "non_inferior"),
        (0, 100, 500, "inferior"),
        (100, 0, 500, "non_inferior"),
        (0, 0, 10, "not_certain"),
        (2, 5, 100, "not_certain"),
    ],
)
def test_the_verdict(better: int, worse: int, total: int, outcome: str) -> None:
    verdict = non_inferiority(better, worse, total, 0.02)
    assert verdict.outcome == outcome
    assert (verdict.more_examples is None) == (outcome != "not_certain")


@given(COUNTS, st.floats(0.001, 0.5))
def test_words_and_numbers_agree(counts: tuple[int, int, int], margin: float) -> None:
    better, worse, same = counts
    verdict = non_inferiority(better, worse, better + worse + same, margin)
    if verdict.outcome == "non_inferior":
        assert verdict.delta.low > -margin
    elif verdict.outcome == "inferior":
        assert verdict.delta.high < -margin
    else:
        assert verdict.delta.low <= -margin <= verdict.delta.high
        assert verdict.more_examples is None or f"{verdict.more_examples:,} more examples" in verdict.words


@pytest.mark.parametrize(("better", "worse", "margin"), [(0.02, 0.02, 0.02), (0.04, 0.03, 0.01), (0.01, 0.05, 0.02)])
def test_as_many_more_as_it_says_settle_it_in_four_of_five_repetitions(better: float, worse: float, margin: float) -> None:
    begun = 100
    first = non_inferiority(round(better * begun), round(worse * begun), begun, margin)
    assert first.more_examples is not None
    total = begun + first.more_examples
    drawn = np.random.default_rng(5).multinomial(total, [better, worse, 1 - better - worse], size=400)
    settled = sum(non_inferiority(int(b), int(w), total, margin).outcome != "not_certain" for b, w, _ in drawn)
    assert 0.7 <= settled / 400 <= 0.999


def test_a_difference_that_is_the_margin_itself_is_never_settled() -> None:
    verdict = non_inferiority(0, 2, 100, 0.02)
    assert verdict.more_examples is None
    assert "no number of examples" in verdict.words

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.evaluation.intervals import paired_difference, percentile, share, unpaired_difference
from stillhouse.grade import Interval

pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200)


@pytest.mark.parametrize(
    ("passed", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_figures(passed: int, total: int, low: float, high: float) -> None:
    """Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17 (1998), table I, method 3."""
    interval = share(passed, total)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_a_share_lies_in_its_interval_and_mirrors(counts: tuple[int, int]) -> None:
    passed, total = counts
    interval, mirrored = share(passed, total), share(total - passed, total)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert (interval.low, interval.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))


@given(st.lists(st.booleans(), min_size=1))
def test_equal_answers_differ_by_nothing(verdicts: list[bool]) -> None:
    assert paired_difference(verdicts, verdicts) == Interval(value=0, low=0, high=0)


@given(pairs)
def test_a_difference_lies_in_its_interval_and_turns_round(verdicts: list[tuple[bool, bool]]) -> None:
    first, second = [a for a, _ in verdicts], [b for _, b in verdicts]
    there = paired_difference(first, second, resamples=2000)
    assert -1 <= there.low <= there.value <= there.high <= 1
    assert paired_difference(second, first, resamples=2000).value == -there.value
    assert there == paired_difference(first, second, resamples=2000)


def test_a_known_difference() -> None:
    """20 better, 5 worse of 100: standard error sqrt((25 - 15**2 / 100) / 100**2) = 0.0477."""
    first = [True] * 20 + [False] * 5 + [True] * 75
    second = [False] * 20 + [True] * 5 + [True] * 75
    difference = paired_difference(first, second)
    assert difference.value == 0.15
    assert difference.low == pytest.approx(0.15 - 1.96 * 0.0477, abs=0.011)
    assert difference.high == pytest.approx(0.15 + 1.96 * 0.0477, abs=0.011)


def test_pairing_makes_it_sharper_than_two_samples() -> None:
    first = [True] * 82 + [False] * 18
    second = [True] * 75 + [False] * 25
    paired, unpaired = paired_difference(first, second), unpaired_difference(share(82, 100), share(75, 100))
    assert paired.value == pytest.approx(unpaired.value) == pytest.approx(0.07)
    assert unpaired.low < 0 < paired.low
    assert paired.high < unpaired.high


def test_it_is_the_bootstrap_that_draws_examples_one_by_one() -> None:
    source = random.Random(3)
    deltas = [1] * 12 + [-1] * 5 + [0] * 43
    means = sorted(sum(source.choices(deltas, k=60)) / 60 for _ in range(5000))
    first, second = [delta == 1 for delta in deltas], [delta == -1 for delta in deltas]
    interval = paired_difference(first, second)
    assert (interval.low, interval.high) == pytest.approx((means[125], means[4875]), abs=0.02)


def test_95_of_100_intervals_cover_the_truth() -> None:
    source, covered, truth = random.Random(5), 0, 0.08
    for trial in range(400):
        both = source.choices(["both", "first", "second", "none"], weights=[0.7, 0.13, 0.05, 0.12], k=150)
        first, second = [each in ("both", "first") for each in both], [each in ("both", "second") for each in both]
        interval = paired_difference(first, second, seed=trial, resamples=1000)
        covered += interval.low <= truth <= interval.high
    assert 0.92 <= covered / 400 <= 0.98


def test_newcombe_gives_the_published_figures() -> None:
    """Newcombe (1998), table II, method 10: 56/70 - 48/80 = 0.2, from 0.0524 to 0.3339."""
    interval = unpaired_difference(share(56, 70), share(48, 80))
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_percentile_lies_between_the_extremes(values: list[float], quantile: float) -> None:
    found = percentile(values, quantile)
    assert found is not None
    assert min(values) - 1e-6 <= found <= max(values) + 1e-6


def test_percentiles_interpolate() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2.5
    assert percentile([7], 0.95) == 7
    assert percentile([], 0.5) is None

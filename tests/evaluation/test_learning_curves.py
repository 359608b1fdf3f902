"""The learning curve: a planted law is found again, what it predicts is where the truth lies, and the sentence says it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.evaluation.learning_curves import CurveRun, fit, learning_curve

SIZES = (500, 1000, 2000, 4000, 8000)


@settings(max_examples=15, deadline=None)
@given(a=st.floats(0, 0.2), b=st.floats(0.5, 5), c=st.floats(0.2, 1.0))
def test_a_planted_law_is_found_again(a: float, b: float, c: float) -> None:
    errors = [a + b * n**-c for n in SIZES]
    law = fit(SIZES, errors)
    assert [law.error(n) for n in SIZES] == pytest.approx([min(1, error) for error in errors], rel=0.02)
    assert law.error(16_000) == pytest.approx(min(1, a + b * 16_000**-c), rel=0.03)


def test_no_error_that_falls_makes_no_law_that_promises() -> None:
    law = fit(SIZES, [0.2] * 5)
    assert law.error(8000) - law.error(16_000) == pytest.approx(0, abs=1e-9)
    rising = fit(SIZES, [0.1, 0.12, 0.14, 0.15, 0.16])
    assert rising.b == 0
    assert fit(SIZES, [0.0] * 5).error(16_000) == 0


def runs(error: float = 0.05, b: float = 3.0, c: float = 0.5, seed: int = 0, examples: int = 1000) -> list[CurveRun]:
    """Three students a size; which questions are hard is mostly the same for all of them."""
    source = np.random.default_rng(seed)
    hard_E = source.uniform(size=examples)
    found = []
    for n in SIZES:
        for each in range(3):
            mixed_E = np.where(source.uniform(size=examples) < 0.2, source.uniform(size=examples), hard_E)
            right = mixed_E >= error + b * n**-c
            found.append(CurveRun(n=n, seed=each, right="".join("1" if value else "0" for value in right)))
    return found


def test_the_truth_lies_within_what_is_predicted() -> None:
    gain = 3 * (8000**-0.5 - 16_000**-0.5)
    inside = 0
    for seed in range(4):
        curve = learning_curve(runs(seed=seed), student="s", held_out="test", seed=seed)
        assert curve.doubled is not None and curve.check is not None
        inside += curve.doubled.gain.low <= gain <= curve.doubled.gain.high
        assert curve.check.predicted.low - 0.02 <= curve.check.measured <= curve.check.predicted.high + 0.02
    assert inside >= 3


def test_points_and_words_say_what_was_measured() -> None:
    curve = learning_curve(runs(), student="s", held_out="test")
    assert [point.n for point in curve.points] == list(SIZES)
    assert curve.points[0].accuracy.value == pytest.approx(sum(curve.points[0].seeds) / 3)
    assert all(point.accuracy.low < point.accuracy.value < point.accuracy.high for point in curve.points)
    assert curve.words.startswith("Doubling the data (8,000 to 16,000 texts) is expected to add ")
    assert learning_curve(runs(), student="s", held_out="test") == curve, "the same runs, the same numbers"


def test_a_flat_curve_says_that_it_is_enough_and_a_steep_one_that_it_is_not() -> None:
    assert "is enough" in learning_curve(runs(error=0.1, b=0), student="s", held_out="test").words
    steep = learning_curve(runs(error=0, b=1.5, c=0.12), student="s", held_out="test")
    assert steep.enough is None and "32 times the data" in steep.words


def test_few_sizes_make_points_and_no_law() -> None:
    curve = learning_curve([run for run in runs() if run.n <= 1000], student="s", held_out="valid")
    assert (len(curve.points), curve.law, curve.doubled) == (2, None, None)
    assert curve.words.startswith("No law: 2 sizes")

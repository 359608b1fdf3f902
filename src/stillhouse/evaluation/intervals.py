"""Estimates with 95 % intervals: a share, the difference of two shares, and percentiles. Numbers in, `Interval`s out.

Which interval is meant for what, with the formulas, stands in docs/evaluation.md. No model, no grader, no dataset here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from stillhouse.grade import Interval

Z_95 = 1.959963984540054
"""The standard normal's 0.975 quantile."""
RESAMPLES = 10_000


def share(passed: int, total: int) -> Interval:
    """`passed` of `total` with the score interval of Wilson (JASA 22, 1927): good for small samples and near 0 and 1."""
    assert 0 <= passed <= total and total > 0
    value, z2 = passed / total, Z_95**2
    centre = (value + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95 / (1 + z2 / total) * math.sqrt(value * (1 - value) / total + z2 / (4 * total**2))
    return Interval(value=value, low=min(value, max(0.0, centre - half)), high=max(value, min(1.0, centre + half)))


def paired_difference(first: Sequence[bool], second: Sequence[bool], *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Share of `first` minus share of `second`, which are about the same examples: percentile bootstrap over examples.

    Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. An example's difference is -1, 0 or 1, so a resample
    is one draw of how often each comes, from a multinomial: the distribution of drawing examples one by one, in O(resamples).
    The same seed gives the same interval. Where no example differs the interval is [0, 0]: it knows only these examples.
    """
    import numpy as np  # half of what a command's start would cost, needed here alone

    assert len(first) == len(second) > 0
    total = len(first)
    better = sum(a and not b for a, b in zip(first, second, strict=True))
    worse = sum(b and not a for a, b in zip(first, second, strict=True))
    shares = [better / total, worse / total, (total - better - worse) / total]
    drawn = np.random.default_rng(seed).multinomial(total, shares, size=resamples)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / total, [0.025, 0.975])
    return Interval(value=(better - worse) / total, low=float(low), high=float(high))


def paired_ratio(first: Sequence[bool], second: Sequence[bool], *, seed: int = 0, resamples: int = RESAMPLES) -> Interval | None:
    """Share of `first` divided by share of `second`, about the same examples: percentile bootstrap, as in `paired_difference`.

    A student's share of its teacher's accuracy is its retention. None where `second` is never right.
    """
    import numpy as np

    assert len(first) == len(second) > 0
    total, wins = len(first), sum(second)
    if not wins:
        return None
    both = sum(a and b for a, b in zip(first, second, strict=True))
    only_first, only_second = sum(first) - both, wins - both
    shares = [both / total, only_first / total, only_second / total, (total - both - only_first - only_second) / total]
    drawn = np.random.default_rng(seed).multinomial(total, shares, size=resamples)
    ratios = (drawn[:, 0] + drawn[:, 1]) / np.maximum(drawn[:, 0] + drawn[:, 2], 1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Interval(value=sum(first) / wins, low=float(low), high=float(high))


def paired_score_interval(better: int, worse: int, total: int) -> Interval:
    """The difference of two shares on the same `total` examples, (better - worse) / total, with Tango's score interval.

    T. Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample design, Statistics
    in Medicine 17 (1998), equations 8 and 9: made for non-inferiority, honest for few examples and where no example differs
    (then z²/(n + z²) to both sides), where the bootstrap knows these examples only.
    """
    assert min(better, worse) >= 0 and better + worse <= total and total > 0
    value = (better - worse) / total
    low = -1.0 if worse == total else _root(lambda delta: _tango(better, worse, total, delta) - Z_95, -1.0, value)
    high = 1.0 if better == total else _root(lambda delta: _tango(better, worse, total, delta) + Z_95, value, 1.0)
    return Interval(value=value, low=min(low, value), high=max(high, value))


def mean_difference(first: Sequence[float], second: Sequence[float], *, seed: int = 0, resamples: int = 2_000) -> Interval:
    """Mean of `first` minus mean of `second`, scores of the same examples: percentile bootstrap over examples."""
    return mean([a - b for a, b in zip(first, second, strict=True)], seed=seed, resamples=resamples)


def mean(values: Sequence[float], *, seed: int = 0, resamples: int = 2_000) -> Interval:
    """A mean with its percentile bootstrap over examples, as in `paired_difference`; memory is that of a few resamples."""
    import numpy as np

    numbers = np.asarray(values, dtype=float)
    source, at_once = np.random.default_rng(seed), max(1, 1_000_000 // len(numbers))
    means = []
    for begin in range(0, resamples, at_once):
        drawn = source.integers(len(numbers), size=(min(at_once, resamples - begin), len(numbers)))
        means.append(numbers[drawn].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    value = float(numbers.mean())
    return Interval(value=value, low=min(float(low), value), high=max(float(high), value))


def unpaired_difference(first: Interval, second: Interval) -> Interval:
    """`first` minus `second`, which are about different examples: Newcombe's hybrid of two Wilson intervals.

    Newcombe, Interval estimation for the difference between independent proportions, Statistics in Medicine 17 (1998), method 10.
    """
    value = first.value - second.value
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    high = value + math.hypot(first.high - first.value, second.value - second.low)
    return Interval(value=value, low=low, high=high)


def percentile(values: Sequence[float], quantile: float) -> float | None:
    """The value below which `quantile` (0 to 1) of `values` lie, interpolated linearly; None when there is none."""
    if not values:
        return None
    ordered = sorted(values)
    position = quantile * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _tango(better: int, worse: int, total: int, delta: float) -> float:
    """The score statistic for a true difference of `delta`; falls as `delta` grows."""
    b = -better - worse + (2 * total - better + worse) * delta
    c = -worse * delta * (1 - delta)
    fewer = (math.sqrt(max(0.0, b * b - 8 * total * c)) - b) / (4 * total)  # the share that only the second passes, given delta
    variance = total * (2 * fewer + delta * (1 - delta))
    distance = better - worse - total * delta
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance) if distance else 0.0


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses 0, by bisection."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2

"""Is one model no worse than another? The verdict of a non-inferiority test, in words, and how many examples it would still take.

A difference that is not significant says nothing: with ten examples none ever is. What is asked here is whether the model can be
worse than the other by more than `margin`, and the interval answers: all of it above -margin, all of it below, or neither yet
(Piaggio et al., Reporting of noninferiority and equivalence randomized trials, JAMA 308, 2012, figure 1).
"""

from __future__ import annotations

import math
from typing import Literal

from stillhouse.evaluation.intervals import Z_95, paired_score_interval
from stillhouse.grade import Interval
from stillhouse.records import Record

Z_POWER = 0.8416212335729143
"""The standard normal's 0.8 quantile: the number of examples is that which settles it in 8 of 10 repetitions."""


class Verdict(Record):
    outcome: Literal["non_inferior", "inferior", "not_certain"]
    margin: float
    """How much worse is still as good, e.g. 0.02 for two points."""
    delta: Interval
    """Second minus first, with Tango's score interval."""
    examples: int
    more_examples: int | None = None
    """What a verdict would take beyond these examples, if the difference is as seen; None when it has fallen, or never would."""
    words: str


def non_inferiority(better: int, worse: int, total: int, margin: float) -> Verdict:
    """`better`: how many of `total` examples only the second model passes; `worse`: only the first. `margin` is from 0 to 1."""
    delta = paired_score_interval(better, worse, total)
    if delta.low > -margin:
        outcome: Literal["non_inferior", "inferior", "not_certain"] = "non_inferior"
        words = f"Not worse than the other by more than {_points(margin)}."
    elif delta.high < -margin:
        outcome, words = "inferior", f"Worse than the other by more than {_points(margin)}."
    else:
        outcome, words = "not_certain", f"Not certain yet whether it is worse than the other by more than {_points(margin)}"
    more = _more(better, worse, total, margin) if outcome == "not_certain" else None
    if outcome == "not_certain":
        words += (
            f": about {more:,} more examples needed."
            if more is not None
            else ", and if the difference is as seen, no number of examples settles it."
        )
    return Verdict(outcome=outcome, margin=margin, delta=delta, examples=total, more_examples=more, words=words)


def _more(better: int, worse: int, total: int, margin: float) -> int | None:
    """From the normal approximation: n = (z_.975 + z_.8)² variance / (difference + margin)², and what Tango needs at least."""
    # One example of each kind is added: that none differed so far does not mean that none ever will.
    n, seen = total + 2, (better - worse) / total
    share = (better + worse + 2) / n
    distance = abs(seen + margin)
    if distance < 1e-9:
        return None
    needed = (Z_95 + Z_POWER) ** 2 * max(share - seen**2, 1 / n) / distance**2
    return max(1, math.ceil(needed) - total)


def _points(share: float) -> str:
    return f"{100 * share:g} points"

"""How often one model's answers beat another's, as pairwise judges saw it: the win rate, with its interval.

A judge's grade is 1 for a win, a half for a tie, 0 for a loss (both places of the two answers were tried, `graders.pairwise`). A
rate whose interval holds a half says that neither is better, as far as these examples know.
"""

from __future__ import annotations

from collections.abc import Sequence

from stillhouse.evaluation.intervals import mean
from stillhouse.grade import Answered, Interval
from stillhouse.records import Record

HALF = 0.5


class WinRate(Record):
    wins: int
    ties: int
    losses: int
    rate: Interval
    """Wins and half the ties, of all that were judged."""
    words: str


def win_rate(rows: Sequence[Answered], grader: str) -> WinRate | None:
    """None where the grader judged no row."""
    scores = [row.grades[grader].score for row in rows if grader in row.grades]
    if not scores:
        return None
    rate = mean(scores)
    wins, losses = sum(score > HALF for score in scores), sum(score < HALF for score in scores)
    return WinRate(
        wins=wins, ties=len(scores) - wins - losses, losses=losses, rate=rate, words=_words(rate, wins, losses, len(scores))
    )


def _words(rate: Interval, wins: int, losses: int, total: int) -> str:
    shown = f"{100 * rate.value:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
    better = "better" if rate.low > HALF else "worse" if rate.high < HALF else "neither better nor worse, as far as this tells"
    return f"wins {wins:,}, ties {total - wins - losses:,}, loses {losses:,} of {total:,}: a win rate of {shown}; {better}."

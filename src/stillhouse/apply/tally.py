"""How a labelling stands: done, rate, cost, time left, failures by kind. Counts and sums, never contents."""

from __future__ import annotations

from collections import Counter, deque

from stillhouse.apply.budget import Amount
from stillhouse.records import Record

WINDOW = 30.0
"""Seconds that the rate is measured over: the last ones."""
GRAIN = 0.5
"""Seconds between two points of that measurement."""


class Standing(Record):
    """One moment's account."""

    done: int
    """Answers that are kept, those of earlier processes included."""
    total: int | None = None
    """Of how many."""
    failed: dict[str, int] = {}
    """Kind of failure -> requests given up."""
    retried: dict[str, int] = {}
    """Kind of failure -> attempts that failed and were made again."""
    spent: Amount = Amount()
    """Calls, tokens and money, what is set aside for requests under way included."""
    rate: float = 0.0
    """Answers a second, lately."""
    seconds_left: float | None = None
    under_way: int = 0
    window: int = 0
    """How many may be under way, as the upstream allows."""

    def metrics(self) -> dict[str, float]:
        """As numbers by name: what a run's event says."""
        left = {} if self.seconds_left is None else {"label/seconds_left": self.seconds_left}
        return {
            "label/done": self.done,
            "label/rate": self.rate,
            "label/calls": self.spent.calls,
            "label/tokens": self.spent.tokens,
            "label/cost": self.spent.cost,
            "label/window": self.window,
            **left,
            **{f"label/failed/{kind}": count for kind, count in self.failed.items()},
            **{f"label/retried/{kind}": count for kind, count in self.retried.items()},
        }


class Tally:
    """Counts while it is asked. `total` may be learnt late."""

    def __init__(self, total: int | None = None) -> None:
        self.total = total
        self.done = 0
        self.failed: Counter[str] = Counter()
        self.retried: Counter[str] = Counter()
        self._points: deque[tuple[float, int]] = deque()

    def count(self, now: float, failure: str | None = None) -> None:
        """One more outcome, at `now`."""
        if failure is None:
            self.done += 1
        else:
            self.failed[failure] += 1
        self._mark(now)

    def standing(self, now: float, *, spent: Amount | None = None, under_way: int = 0, window: int = 0) -> Standing:
        self._mark(now)
        rate = self._rate(now)
        left = None if self.total is None else self.total - self._settled
        return Standing(
            done=self.done,
            total=self.total,
            failed=dict(self.failed),
            retried=dict(self.retried),
            spent=spent or Amount(),
            rate=rate,
            seconds_left=left / rate if left is not None and rate > 0 else None,
            under_way=under_way,
            window=window,
        )

    @property
    def _settled(self) -> int:
        return self.done + sum(self.failed.values())

    def _mark(self, now: float) -> None:
        if not self._points or now - self._points[-1][0] >= GRAIN:
            self._points.append((now, self._settled))
        while now - self._points[0][0] > WINDOW:
            self._points.popleft()

    def _rate(self, now: float) -> float:
        since, before = self._points[0]
        return (self._settled - before) / (now - since) if now > since else 0.0

"""Selectors by name, and several in a row: `margin+k_means` is coverage within the uncertain (Zhdanov 2019).

Each but the last narrows the pool to some times as many texts as are wanted, and hands on what they are worth to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from stillhouse.selectors import SELECTORS
from stillhouse.selectors.base import Need, Pick, Pool, Selector

NARROWED = 10
"""Times as many texts as are wanted stay for the next selector (beta in Zhdanov 2019)."""
T = TypeVar("T")


def selector_of(spec: str) -> Selector:
    """A selector by name, or several names joined by `+`. Raises UsageError, which lists them."""
    found: list[Selector] = [SELECTORS.resolve(name.strip())() for name in spec.split("+")]
    return found[0] if len(found) == 1 else Chain(found)


class Chain:
    """The score and the reason are the last one's, behind the reasons of those before it."""

    def __init__(self, selectors: Sequence[Selector], narrowed: int = NARROWED) -> None:
        self._selectors = list(selectors)
        self._narrowed = narrowed
        self.needs: frozenset[Need] = frozenset[Need]().union(*(each.needs for each in selectors))

    def select(self, pool: Pool, n: int) -> list[Pick]:
        places, reasons = list(range(len(pool.ids))), [""] * len(pool.ids)
        for selector in self._selectors[:-1]:
            picks = sorted(selector.select(pool, n * self._narrowed), key=lambda pick: pick.place)
            kept = [pick.place for pick in picks]
            reasons = [f"{reasons[pick.place]}{pick.reason}; " for pick in picks]
            places = [places[place] for place in kept]
            pool = _part(pool, kept, [pick.score for pick in picks])
        last = self._selectors[-1].select(pool, n)
        return [Pick(places[pick.place], pick.score, reasons[pick.place] + pick.reason) for pick in last]


def _part(pool: Pool, places: list[int], scores: list[float]) -> Pool:
    import numpy as np

    def some(values: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(values[place] for place in places) if values else ()

    return replace(
        pool,
        ids=some(pool.ids),
        vectors_ND=None if pool.vectors_ND is None else pool.vectors_ND[places],
        opinions=some(pool.opinions),
        answers=some(pool.answers),
        weights_N=np.maximum(0.0, np.array(scores)),
    )

"""Selector `margin`: texts where the student's second answer is nearly as likely as its first (Scheffer et al. 2001).

Of an answer of several tokens it is the smallest margin of any of them: where it was closest to saying something else.
"""

from __future__ import annotations

from stillhouse.selectors.base import Need, Opinion, Pick, Pool, ranked


class Margin:
    """1 - (P(first) - P(second))."""

    needs: frozenset[Need] = frozenset({"distributions"})

    def select(self, pool: Pool, n: int) -> list[Pick]:
        return ranked(pool, n, _worth)


def _worth(opinion: Opinion) -> tuple[float, str]:
    pairs = [(token.likeliest[0], token.likeliest[1] if len(token.likeliest) > 1 else 0.0) for token in opinion.tokens]
    first, second = min(pairs, key=lambda pair: pair[0] - pair[1], default=(1.0, 0.0))
    return 1 - (first - second), f"the student's first choice has {first:.2f}, its second {second:.2f}"

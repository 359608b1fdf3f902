"""Selector `least_confidence`: texts whose answer the student itself finds least likely (Lewis & Gale 1994).

Of an answer of several tokens it is the mean probability a token, the geometric one, so that long answers are not picked for
their length alone.
"""

from __future__ import annotations

import math

from stillhouse.selectors.base import Need, Opinion, Pick, Pool, mean, ranked


class LeastConfidence:
    """1 - P(answer)^(1/tokens)."""

    needs: frozenset[Need] = frozenset({"distributions"})

    def select(self, pool: Pool, n: int) -> list[Pick]:
        return ranked(pool, n, _worth)


def _worth(opinion: Opinion) -> tuple[float, str]:
    sure = math.exp(mean([math.log(max(token.chosen, 1e-30)) for token in opinion.tokens]))
    return max(0.0, 1 - sure), f"the student gives its answer a probability of {sure:.2f}"

"""Selector `entropy`: texts where the student's probability is spread over many answers.

Of an answer of several tokens it is the mean over them: token entropy (Settles & Craven 2008, section 3.1).
"""

from __future__ import annotations

import math

from stillhouse.selectors.base import Need, Opinion, Pick, Pool, Token, mean, ranked


class Entropy:
    """-sum p ln p, in nats. What the likeliest tokens leave over counts as one more."""

    needs: frozenset[Need] = frozenset({"distributions"})

    def select(self, pool: Pool, n: int) -> list[Pick]:
        return ranked(pool, n, _worth)


def _worth(opinion: Opinion) -> tuple[float, str]:
    nats = mean([_entropy(token) for token in opinion.tokens])
    return nats, f"the student's answer has an entropy of {nats:.2f} nats, as if {math.exp(nats):.1f} answers were equally likely"


def _entropy(token: Token) -> float:
    rest = max(0.0, 1 - math.fsum(token.likeliest))
    return math.fsum(-p * math.log(p) for p in (*token.likeliest, rest) if p > 1e-12)

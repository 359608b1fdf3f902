"""Pools with a planted truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stillhouse.selectors.base import Opinion, Pool, Token
from stillhouse.similarity.tfidf import unit


def opinion(*probabilities: float, answer: str = "a") -> Opinion:
    ranked = tuple(sorted(probabilities, reverse=True))
    return Opinion(answer, (Token(ranked[0], ranked),))


def bunches(count: int, each: int, seed: int = 0, width: float = 0.05) -> NDArray[np.float64]:
    """(count * each, 12): unit vectors in `count` tight groups, one group after the other."""
    source = np.random.default_rng(seed)
    middles = np.eye(12)[:count]
    return unit(np.repeat(middles, each, axis=0) + width * source.standard_normal((count * each, 12)))


def a_pool(size: int = 30, seed: int = 0) -> Pool:
    """Everything that any selector may look at, by chance."""
    source = np.random.default_rng(seed)
    opinions = tuple(opinion(*source.dirichlet([0.5] * 4).tolist(), answer=f"a{place % 3}") for place in range(size))
    return Pool(
        ids=tuple(f"id{place:04d}" for place in range(size)),
        vectors_ND=unit(source.standard_normal((size, 6))),
        labelled_MD=unit(source.standard_normal((4, 6))),
        opinions=opinions,
        answers=tuple(f"a{int(source.integers(3))}" for _ in range(size)),
    )

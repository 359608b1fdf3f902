"""METEOR without its synonym data: words match when they are equal or have the same stem.

Banerjee and Lavie, METEOR (2005), with the weights of Lavie and Agarwal (2007): F = P R / (0.9 P + 0.1 R), less up to a half for
words out of order. The full metric also matches synonyms from WordNet, a database of English that is not shipped here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5
"""Weight of precision; how fast disorder grows; the most that it costs."""


def meteor(candidate: Sequence[str], reference: Sequence[str]) -> float:
    """The score of two lists of lower-cased words, 0 to just below 1 (a text with itself: 1 - 0.5 / words³)."""
    matches = _matches(list(candidate), list(reference))
    if not matches:
        return 0.0
    precision, recall = len(matches) / len(candidate), len(matches) / len(reference)
    f = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    return float(f * (1 - GAMMA * (_chunks(matches) / len(matches)) ** BETA))


def _matches(candidate: list[str], reference: list[str]) -> list[tuple[int, int]]:
    """(place in candidate, place in reference), equal words first, then equal stems; ordered by the candidate's places.

    Greedy from the end: a word takes the last free one like it. (METEOR's own search for the least crossings is a beam search.)
    """
    pairs: list[tuple[int, int]] = []
    for key in (str, _stem):
        mine, theirs = ({pair[side] for pair in pairs} for side in (0, 1))
        free: dict[str, list[int]] = {}
        for place, word in enumerate(reference):
            if place not in theirs:
                free.setdefault(key(word), []).append(place)
        for place, word in reversed(list(enumerate(candidate))):
            if place not in mine and free.get(key(word)):
                pairs.append((place, free[key(word)].pop()))
    return sorted(pairs)


def _chunks(matches: list[tuple[int, int]]) -> int:
    """Runs of matches that are adjacent and in order on both sides."""
    broken = sum(after != (before[0] + 1, before[1] + 1) for before, after in zip(matches, matches[1:], strict=False))
    return 1 + broken


@lru_cache(maxsize=1 << 14)
def _stem(word: str) -> str:
    """By Porter's rules (1980) for English; what is not ASCII stays as it is."""
    return str(_stemmer().stemWord(word)) if word.isascii() else word


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("porter")

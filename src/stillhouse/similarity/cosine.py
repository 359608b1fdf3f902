"""The cosine of two texts' vectors, and the embedder that needs no model: counted character n-grams.

OpenAI's `cosine` takes the vectors of one of its embedding models. Here the embedder is handed in and named in every grade; the
built-in one sees spelling, not meaning.
"""

from __future__ import annotations

import math
import unicodedata
import zlib
from collections.abc import Sequence
from operator import mul

DIMENSIONS = 4096


class Ngrams:
    """An Embedder: how often each run of 1 to 3 characters occurs, hashed into 4,096 counts, square roots taken.

    The text is NFKC-normalised and case-folded, and white space counts as one space. Deterministic, in any language, offline.
    """

    name = "builtin:ngrams"

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [_counts(text) for text in texts]


def cosine(first: Sequence[float], second: Sequence[float]) -> float:
    """Cut off below at 0. Two vectors of nothing are alike, one of nothing is like no other."""
    lengths = math.sqrt(_dot(first, first) * _dot(second, second))
    if not lengths:
        return float(not any(first) and not any(second))
    return min(1.0, max(0.0, _dot(first, second) / lengths))


def _dot(first: Sequence[float], second: Sequence[float]) -> float:
    return math.fsum(map(mul, first, second))


def _counts(text: str) -> list[float]:
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    counts = [0.0] * DIMENSIONS
    for n in (1, 2, 3):
        for i in range(len(folded) - n + 1):
            counts[zlib.crc32(folded[i : i + n].encode(errors="surrogatepass")) % DIMENSIONS] += 1
    return [math.sqrt(count) for count in counts]

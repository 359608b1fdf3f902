"""How alike two texts are, 0 to 1: the metrics of OpenAI's `text_similarity` grader, right on every script.

`words` cuts texts, the other files compare what was cut. All are pure; the libraries behind them (rapidfuzz, sacrebleu, a
stemmer) are imported when a metric is first used.
"""

from __future__ import annotations

from stillhouse.similarity.base import Embedder, Likeness
from stillhouse.similarity.cosine import Ngrams, cosine
from stillhouse.similarity.metrics import METRICS, similarity

__all__ = ["METRICS", "Embedder", "Likeness", "Ngrams", "cosine", "similarity"]

"""The metrics by their names, and the one way to apply them. Which rule each follows is part of what it returns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from stillhouse.similarity.base import Embedder, Likeness
from stillhouse.similarity.cosine import cosine
from stillhouse.similarity.meteor import meteor
from stillhouse.similarity.overlap import gleu, rouge_l, rouge_n
from stillhouse.similarity.words import is_han, is_unspaced, tokens, words

COSINE = "cosine"
QUICK = 4096
"""Characters that are compared in well under a millisecond; longer texts are compared in a thread, so that others are served."""


async def similarity(metric: str, candidate: str, reference: str, embedder: Embedder) -> Likeness:
    """How alike the texts are by one of `METRICS`. Equal texts of signs alone (`!`, or nothing) count as 1 in all of them."""
    if metric == COSINE:
        return Likeness(score=cosine(*await embedder.embed([candidate, reference])), rule=f"cosine of {embedder.name}")
    if candidate == reference and not words(reference):
        return Likeness(score=1.0, rule="the same signs")
    if len(candidate) + len(reference) > QUICK:
        return await asyncio.to_thread(_PURE[metric], candidate, reference)
    return _PURE[metric](candidate, reference)


def _fuzzy(candidate: str, reference: str) -> Likeness:
    from rapidfuzz import fuzz

    return Likeness(score=fuzz.ratio(candidate, reference) / 100, rule="rapidfuzz.fuzz.ratio")


def _bleu(candidate: str, reference: str) -> Likeness:
    """Sentence BLEU by sacrebleu; its signature is the rule."""
    metric = _sacrebleu(_bleu_tokens(reference + candidate))
    score = metric.sentence_score(candidate, [reference]).score / 100
    return Likeness(score=min(1.0, max(0.0, score)), rule=f"sacrebleu {metric.get_signature()}")


def _bleu_tokens(text: str) -> str:
    """Which of sacrebleu's tokenizers: `zh` where Chinese is written, `char` for other scripts without spaces, else `13a`."""
    unspaced = [character for character in text if is_unspaced(character)]
    if not unspaced:
        return "13a"
    return "zh" if all(map(is_han, unspaced)) else "char"


@lru_cache(maxsize=4)
def _sacrebleu(tokenize: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenize, effective_order=True)


def _gleu(candidate: str, reference: str) -> Likeness:
    return Likeness(score=gleu(tokens(candidate), tokens(reference)), rule="GLEU, n 1 to 4, tokens by script")


def _meteor(candidate: str, reference: str) -> Likeness:
    score = meteor(words(candidate), words(reference))
    return Likeness(score=score, rule="METEOR without synonyms (equal words, Porter stems), words by script")


def _rouge_n(n: int, candidate: str, reference: str) -> Likeness:
    return Likeness(score=rouge_n(words(candidate), words(reference), n), rule=f"ROUGE-{n} F1, words by script")


def _rouge_l(candidate: str, reference: str) -> Likeness:
    return Likeness(score=rouge_l(words(candidate), words(reference)), rule="ROUGE-L F1, words by script")


_PURE: dict[str, Callable[[str, str], Likeness]] = {
    "fuzzy_match": _fuzzy,
    "bleu": _bleu,
    "gleu": _gleu,
    "meteor": _meteor,
    **{f"rouge_{n}": partial(_rouge_n, n) for n in range(1, 6)},
    "rouge_l": _rouge_l,
}
METRICS = (COSINE, *_PURE)

"""ROUGE and GLEU: how many n-grams, or how long a subsequence, two token lists share.

The libraries for them bring their own tokenizers, which find nothing in Chinese; the counting is a few lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

Gram = tuple[str, ...]


def rouge_n(candidate: Sequence[str], reference: Sequence[str], n: int) -> float:
    """ROUGE-N as F1: the harmonic mean of n-gram precision and recall (Lin, ROUGE, 2004). 0 where either has no n-gram."""
    ours, theirs = _grams(candidate, n), _grams(reference, n)
    return _f1((ours & theirs).total(), ours.total(), theirs.total())


def rouge_l(candidate: Sequence[str], reference: Sequence[str]) -> float:
    """ROUGE-L as F1: the longest common subsequence against both lengths (Lin, ROUGE, 2004)."""
    return _f1(_longest_common(candidate, reference), len(candidate), len(reference))


def gleu(candidate: Sequence[str], reference: Sequence[str], longest: int = 4) -> float:
    """Google-BLEU of a sentence: shared n-grams (1 to `longest`) over those of the longer side (Wu et al., arXiv 1609.08144)."""
    ours = sum((_grams(candidate, n) for n in range(1, longest + 1)), Counter[Gram]())
    theirs = sum((_grams(reference, n) for n in range(1, longest + 1)), Counter[Gram]())
    return (ours & theirs).total() / max(ours.total(), theirs.total(), 1)


def _grams(tokens: Sequence[str], n: int) -> Counter[Gram]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def _f1(shared: int, ours: int, theirs: int) -> float:
    return 2 * shared / (ours + theirs) if shared else 0.0


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, by bits: one integer of len(first) bits, a few operations a token of `second`.

    Hyyrö, Bit-parallel LCS-length computation revisited (2004).
    """
    places: dict[str, int] = {}
    for position, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << position
    full = (1 << len(first)) - 1
    row = full
    for token in second:
        matched = row & places.get(token, 0)
        row = (row + matched | row - matched) & full
    return len(first) - row.bit_count()

"""How different the rationales of a question are: the mean distance of two of them, and the share of n-grams that are new."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stillhouse.curation.rationales.scoring import by_question
from stillhouse.reasoning import Rationale
from stillhouse.records import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ORDER = 3
"""Words in a gram: long enough that two texts about one question do not share all of them."""
_WORD = re.compile(r"\w+|[^\w\s]")


class Diversity(Record):
    """Over questions with more than one rationale; 0 to 1 each."""

    questions: int
    rationales: int
    distance: float
    """Mean over questions of the mean pairwise Jaccard distance of their rationales' word n-grams. 0: all the same."""
    distinct_1: float
    """Distinct words / words, over each question's rationales together, then the mean (Li et al. 2016)."""
    distinct_2: float
    """The same of pairs of words."""
    distinct_texts: float
    """Different texts / rationales."""


def diversity(rationales: Sequence[Rationale]) -> Diversity:
    """Zeros where no question has two."""
    groups = [[each.reasoning for each in group] for group in by_question(rationales) if len(group) > 1]
    if not groups:
        return Diversity(questions=0, rationales=0, distance=0.0, distinct_1=0.0, distinct_2=0.0, distinct_texts=0.0)
    count = sum(map(len, groups))
    return Diversity(
        questions=len(groups),
        rationales=count,
        distance=sum(map(mean_distance, groups)) / len(groups),
        distinct_1=sum(distinct(texts, 1) for texts in groups) / len(groups),
        distinct_2=sum(distinct(texts, 2) for texts in groups) / len(groups),
        distinct_texts=sum(len({" ".join(text.split()) for text in texts}) for texts in groups) / count,
    )


def mean_distance(texts: Sequence[str]) -> float:
    """The mean of `gram_distances` over all pairs of two different positions."""
    count = len(texts)
    return float(gram_distances(texts).sum()) / (count * (count - 1)) if count > 1 else 0.0


def distinct(texts: Sequence[str], order: int) -> float:
    """Distinct n-grams / n-grams of all the texts together (Li et al. 2016, distinct-n); 0 where there are none."""
    grams = [gram for text in texts for gram in _grams(text, order)]
    return len(set(grams)) / len(grams) if grams else 0.0


def gram_distances(texts: Sequence[str], order: int = ORDER) -> NDArray[np.floating]:
    """(texts, texts): 1 - shared n-grams of words / all of them (Jaccard)."""
    import numpy as np

    sets = [set(_grams(text, order)) for text in texts]
    distances_RR = np.zeros((len(texts), len(texts)))
    for row, one in enumerate(sets):
        for column in range(row):
            union = len(one | sets[column])
            distance = 1 - len(one & sets[column]) / union if union else 0.0
            distances_RR[row, column] = distances_RR[column, row] = distance
    return distances_RR


def _grams(text: str, order: int) -> list[tuple[str, ...]]:
    """A text shorter than a gram is one gram; an empty one has none."""
    words = _WORD.findall(text.casefold())
    if 0 < len(words) < order:
        return [tuple(words)]
    return [tuple(words[at : at + order]) for at in range(len(words) - order + 1)]

"""How far answers that are numbers are from the right ones: what equality of texts does not say of a regression.

Shapes: N answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul

from stillhouse.grade import Answered, NumberFit


def number_fit(rows: Sequence[Answered]) -> NumberFit | None:
    """Of the answers that are numbers; None where a label is none, as for labels of classes, or fewer than two answers are.

    The correlation is Pearson's; None where all answers, or all labels, are the same.
    """
    labels = [number_in(row.label) for row in rows]
    pairs = [
        (said, right)
        for row, right in zip(rows, labels, strict=True)
        if (said := number_in(row.answer)) is not None and right is not None
    ]
    if None in labels or len(pairs) < 2:
        return None
    said_N, right_N = [said for said, _ in pairs], [right for _, right in pairs]
    error = math.sqrt(math.fsum((said - right) ** 2 for said, right in pairs) / len(pairs))
    return NumberFit(answers=len(pairs), root_mean_square=error, correlation=_correlation(said_N, right_N))


def number_in(text: str | None) -> float | None:
    """The number that a text is, whole and finite."""
    try:
        number = math.nan if text is None else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _correlation(first_N: Sequence[float], second_N: Sequence[float]) -> float | None:
    means = [math.fsum(values) / len(values) for values in (first_N, second_N)]
    apart = [[value - mean for value in values] for values, mean in zip((first_N, second_N), means, strict=True)]
    sizes = math.prod(math.sqrt(math.fsum(value * value for value in values)) for values in apart)
    return math.fsum(map(mul, *apart)) / sizes if sizes else None

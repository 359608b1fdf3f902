"""Diverse reasoning (Ho et al. 2023, section 3): of the rationales of a question, D are taken, and each weighs what it should."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from stillhouse.curation.rationales.diversity import gram_distances
from stillhouse.curation.rationales.scoring import by_question
from stillhouse.errors import UsageError
from stillhouse.reasoning import Rationale
from stillhouse.similarity.base import Embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Choice = Literal["first", "random", "different"]
CHOICES: tuple[Choice, ...] = ("first", "random", "different")
Weighing = Literal["rationale", "question"]
"""What weighs 1: every rationale, so that a question with 8 counts as 8; or every question, however many it has."""

EMBEDDED = 256
"""Texts a request to an embedder."""
Embed = Callable[[Sequence[str]], "NDArray[np.floating]"]
"""Texts -> (texts, columns)."""


def choose(
    rationales: Sequence[Rationale], d: int, how: Choice = "first", *, seed: int = 0, embed: Embed | None = None
) -> list[Rationale]:
    """Up to `d` rationales a question, in the order they came.

    first      the first ones, as the paper takes them
    random     drawn without replacement; the same `seed` draws the same, and a smaller `d` a part of what a larger one does
    different  the first, then always the one whose nearest neighbour among those taken is farthest: by n-grams, or by the
               cosine of what `embed` says of the texts

    Raises UsageError for `d` below 1.
    """
    if d < 1:
        raise UsageError(f"At least 1 rationale a question is needed; got {d}.")
    taken: set[int] = set()
    for group in by_question(rationales):
        order = _order(group, min(d, len(group)), how, seed, embed)
        taken |= {id(group[position]) for position in order[:d]}
    return [each for each in rationales if id(each) in taken]


async def choose_by(
    rationales: Sequence[Rationale], d: int, how: Choice = "first", *, seed: int = 0, embedder: Embedder | None = None
) -> list[Rationale]:
    """`choose`, by an embedder's vectors where there is one and they are wanted. Raises what the embedder raises."""
    embed = None if embedder is None or how != "different" else await _embedding(rationales, embedder)
    return choose(rationales, d, how, seed=seed, embed=embed)


async def _embedding(rationales: Sequence[Rationale], embedder: Embedder) -> Embed:
    """Every reasoning's vector, each text asked for once, `EMBEDDED` a request."""
    import numpy as np

    texts = list(dict.fromkeys(each.reasoning for each in rationales))
    vectors: dict[str, list[float]] = {}
    for begin in range(0, len(texts), EMBEDDED):
        part = texts[begin : begin + EMBEDDED]
        vectors.update(zip(part, await embedder.embed(part), strict=True))
    return lambda wanted: np.array([vectors[text] for text in wanted], dtype=float)


def weigh(rationales: Sequence[Rationale], by: Weighing = "rationale") -> list[float]:
    """A weight for each: 1, or 1 / (rationales of its question), so that they add up to 1 a question."""
    if by == "rationale":
        return [1.0] * len(rationales)
    sizes = {str(group[0].sample): len(group) for group in by_question(rationales)}
    return [1.0 / sizes[str(each.sample)] for each in rationales]


def _order(group: Sequence[Rationale], d: int, how: Choice, seed: int, embed: Embed | None) -> list[int]:
    positions = list(range(len(group)))
    if how == "random":
        random.Random(f"{seed} {group[0].sample}").shuffle(positions)
    elif how == "different" and len(group) > d:
        texts = [each.reasoning for each in group]
        return _farthest_first(gram_distances(texts) if embed is None else _cosine_distances(embed(texts)), d)
    return positions


def _farthest_first(distances_RR: NDArray[np.floating], d: int) -> list[int]:
    """Gonzalez's farthest-point traversal, from the first; ties go to the earlier."""
    import numpy as np

    order, nearest_R = [0], distances_RR[0].copy()
    while len(order) < d:
        nearest_R[order] = -1.0
        order.append(int(np.argmax(nearest_R)))
        nearest_R = np.minimum(nearest_R, distances_RR[order[-1]])
    return order


def _cosine_distances(vectors_RE: NDArray[np.floating]) -> NDArray[np.floating]:
    import numpy as np

    lengths_R1 = np.linalg.norm(vectors_RE, axis=1, keepdims=True)
    unit_RE = vectors_RE / np.where(lengths_R1 == 0, 1, lengths_R1)
    distances_RR: NDArray[np.floating] = 1 - unit_RE @ unit_RE.T
    return distances_RR

"""Groups of like vectors, and vectors that stand for all others: k-means and k-center, on the sphere.

Vectors are unit rows, so 1 - cosine is half their squared distance and both orders agree. Ties go to the earlier row.

N: vectors, D: their numbers, K: groups, M: vectors that are covered already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from stillhouse.similarity.tfidf import unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROUNDS = 30


class Clusters(NamedTuple):
    """Which group each vector is in, and how near it is to its middle."""

    of_N: NDArray[np.int64]
    centres_KD: NDArray[np.float64]
    """Unit rows. A group may be empty where there are fewer different vectors than groups."""
    cosine_N: NDArray[np.float64]


def k_means(vectors_ND: NDArray[np.float64], k: int, *, seed: int = 0, weights_N: NDArray[np.float64] | None = None) -> Clusters:
    """Spherical k-means (Dhillon & Modha 2001), begun by k-means++ (Arthur & Vassilvitskii 2007), at most `ROUNDS` rounds.

    `weights_N`: how much each vector pulls at its group's middle; none is negative.
    """
    import numpy as np

    weights_N = np.ones(len(vectors_ND)) if weights_N is None else weights_N
    centres_KD = vectors_ND[_spread(vectors_ND, k, weights_N, np.random.default_rng(seed))]
    of_N = np.full(len(vectors_ND), -1, dtype=np.int64)
    for _ in range(ROUNDS):
        now_N = (vectors_ND @ centres_KD.T).argmax(axis=1)
        if np.array_equal(now_N, of_N):
            break
        of_N = now_N
        sums_KD = np.zeros_like(centres_KD)
        np.add.at(sums_KD, of_N, vectors_ND * weights_N[:, None])
        moved_KD = unit(sums_KD)
        lengths_K = np.linalg.norm(moved_KD, axis=1)
        centres_KD = np.where(lengths_K[:, None] > 0, moved_KD, centres_KD)  # an empty group keeps its middle
    return Clusters(of_N, centres_KD, np.einsum("nd,nd->n", vectors_ND, centres_KD[of_N]))


def k_center(
    vectors_ND: NDArray[np.float64], k: int, *, covered_MD: NDArray[np.float64] | None = None
) -> list[tuple[int, float]]:
    """Up to `k` rows, each the farthest from all that are covered or were taken before it, with that distance, 1 - cosine.

    Farthest-first traversal (Gonzalez 1985): its largest distance is at most twice the best possible. With what is labelled as
    the first centres it is the core-set selection of Sener & Savarese (2018, algorithm 1). Without any, the first is the row
    nearest to the middle of all, since a traversal has to begin somewhere and a text that is like no other is a poor place.
    """
    import numpy as np

    if not len(vectors_ND) or k < 1:
        return []
    taken: list[tuple[int, float]] = []
    if covered_MD is not None and len(covered_MD):
        distance_N = 1 - _nearest(vectors_ND, covered_MD)
    else:
        first = int((vectors_ND @ vectors_ND.mean(axis=0)).argmax())
        taken.append((first, 1.0))
        distance_N = 1 - vectors_ND @ vectors_ND[first]
        distance_N[first] = -np.inf
    while len(taken) < min(k, len(vectors_ND)):
        farthest = int(distance_N.argmax())
        taken.append((farthest, float(distance_N[farthest])))
        distance_N = np.minimum(distance_N, 1 - vectors_ND @ vectors_ND[farthest])
        distance_N[farthest] = -np.inf
    return taken


def _nearest(vectors_ND: NDArray[np.float64], others_MD: NDArray[np.float64], block: int = 1000) -> NDArray[np.float64]:
    import numpy as np

    parts = [(vectors_ND[begin : begin + block] @ others_MD.T).max(axis=1) for begin in range(0, len(vectors_ND), block)]
    return np.concatenate(parts)


def _spread(vectors_ND: NDArray[np.float64], k: int, weights_N: NDArray[np.float64], source: np.random.Generator) -> list[int]:
    """k-means++: each next one is drawn by its weight times its distance from the nearest one taken."""
    import numpy as np

    distance_N, taken = np.ones(len(vectors_ND)), list[int]()
    while len(taken) < min(k, len(vectors_ND)):
        chances_N = distance_N * weights_N
        total = chances_N.sum()
        if total <= 1e-12:  # no other vector is different from those taken
            break
        at = int(np.searchsorted(np.cumsum(chances_N), source.random() * total, side="right"))
        taken.append(min(at, len(vectors_ND) - 1))
        distance_N = np.minimum(distance_N, np.maximum(0.0, 1 - vectors_ND @ vectors_ND[taken[-1]]))
    return taken

"""What the training texts cover: how near the texts of an evaluation, or of live traffic, come to one that is learned from.

How near is near enough the data say themselves: nineteen of twenty training texts have another training text at least that
near. So texts of the same kind are covered to 95 %, and what falls short of that is not like what was trained on.

N: training texts, M: other texts, K: clusters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stillhouse.records import Record
from stillhouse.similarity.clusters import k_means
from stillhouse.similarity.tfidf import Latent, Tfidf, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST = 0.2
"""Cosine below which nothing is near, however far the training texts are from each other."""
QUANTILE = 0.05
SAMPLED = 1000
"""Training texts whose nearest other one is looked for."""
MOST_CLUSTERS = 50
RARE = 2.0
"""Times as frequent elsewhere as in train: such a cluster is thin."""
FEW = 5
"""Texts of a cluster from which on it is called thin."""
EXCERPT = 100


class Covered(Record):
    """Texts of one origin against the training texts."""

    texts: int
    near: int
    """Those that have a training text near them."""
    median: float
    """Cosine of the middle one with its nearest training text."""
    farthest: tuple[str, ...]
    """The ones that are least like anything learned, shortened."""


class Cluster(Record):
    """Like texts, by the one in their middle."""

    middle: str
    """Shortened."""
    train: int
    others: dict[str, int]
    """Origin -> texts."""


class Coverage(Record):
    near: float
    """Cosine of TF-IDF from which a text counts as near."""
    covered: dict[str, Covered]
    """By origin: `valid`, `test`, `traffic`."""
    clusters: tuple[Cluster, ...]
    """Of all texts, the largest first."""
    thin: tuple[Cluster, ...]
    """Those that are more than twice as frequent somewhere else as in train: what to collect more of, the worst first."""


def coverage(train: Sequence[str], others: Mapping[str, Sequence[str]], *, seed: int = 0) -> Coverage:
    """How the texts of `others` (origin -> texts) are covered by `train`. Origins without a text are left out."""
    others = {origin: texts for origin, texts in others.items() if texts}
    everything = [*train, *(text for texts in others.values() for text in texts)]
    if not train:
        return Coverage(near=LEAST, covered={}, clusters=(), thin=())
    rows = Tfidf(everything).rows_NV
    near = max(LEAST, _usual(rows[: len(train)]))
    covered, begin = {}, len(train)
    for origin, texts in others.items():
        covered[origin] = _covered(texts, nearest(rows[begin : begin + len(texts)], rows[: len(train)]), near)
        begin += len(texts)
    clusters = _clusters(everything, rows, len(train), others, seed)
    return Coverage(near=near, covered=covered, clusters=clusters, thin=_thin(clusters, len(train), others))


def _usual(rows_NV: Any) -> float:
    """The cosine that all but a twentieth of the training texts have with another one of them, equal ones aside."""
    import numpy as np

    if rows_NV.shape[0] < 2:
        return 0.0
    every = max(1, math.ceil(rows_NV.shape[0] / SAMPLED))
    asked = np.arange(0, rows_NV.shape[0], every)
    products = (rows_NV[asked] @ rows_NV.T).tocsr()
    products.data[products.data > 1 - 1e-9] = 0.0  # itself, and its copies
    return float(np.quantile(products.max(axis=1).toarray().ravel(), QUANTILE))


def _covered(texts: Sequence[str], cosine_M: NDArray[np.float64], near: float) -> Covered:
    import numpy as np

    order = np.argsort(cosine_M, kind="stable")
    far = [_excerpt(texts[place]) for place in order[:FEW] if cosine_M[place] < near - 1e-9]
    count = int((cosine_M >= near - 1e-9).sum())
    return Covered(texts=len(texts), near=count, median=float(np.median(cosine_M)), farthest=tuple(far))


def _clusters(texts: Sequence[str], rows: Any, train: int, others: Mapping[str, Sequence[str]], seed: int) -> tuple[Cluster, ...]:
    """As many as a rule of thumb says: the root of half the texts, `MOST_CLUSTERS` at most."""
    import numpy as np

    found = k_means(Latent(rows).vectors(rows), min(MOST_CLUSTERS, max(1, round(math.sqrt(len(texts) / 2)))), seed=seed)
    origins = np.concatenate(
        [np.zeros(train, int), *(np.full(len(each), at) for at, each in enumerate(others.values(), start=1))]
    )
    clusters = []
    for group in range(len(found.centres_KD)):
        places = np.flatnonzero(found.of_N == group)
        if places.size:
            counts = np.bincount(origins[places], minlength=len(others) + 1).tolist()
            middle = texts[int(places[found.cosine_N[places].argmax()])]
            elsewhere = dict(zip(others, counts[1:], strict=True))
            clusters.append(Cluster(middle=_excerpt(middle), train=counts[0], others=elsewhere))
    return tuple(sorted(clusters, key=lambda each: (-each.train - sum(each.others.values()), each.middle)))


def _thin(clusters: Sequence[Cluster], train: int, others: Mapping[str, Sequence[str]]) -> tuple[Cluster, ...]:
    def excess(cluster: Cluster) -> float:
        """Times as frequent elsewhere as in train, where it is seen most; a training text more, so that none is no division."""
        return max(
            (
                count / len(others[origin]) / ((cluster.train + 1) / (train + 1))
                for origin, count in cluster.others.items()
                if count >= FEW
            ),
            default=0.0,
        )

    return tuple(sorted((each for each in clusters if excess(each) > RARE), key=lambda each: (-excess(each), each.middle)))


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[:EXCERPT] + "..."

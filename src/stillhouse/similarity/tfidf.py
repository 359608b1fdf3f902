"""Texts as vectors without a model: counted words and runs of characters, weighed by rarity (TF-IDF), and their main directions.

`Tfidf` is sparse and exact: the cosine of two rows says how much of what is rare two texts share. `Latent` is what is left of it
in a few hundred numbers (latent semantic analysis), which is what clusters are made of: words that stand in like texts come
near each other.

N: texts, V: features, D: directions.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stillhouse.similarity.words import words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GRAM = 4
"""Characters of a run within a word, its two ends counted as characters."""
FEW = 1000
"""From so many texts on, what stands in one text alone is left out: it makes no two texts alike."""
DIRECTIONS = 128
OVERSAMPLED, ITERATIONS = 10, 2
"""Of the randomised decomposition (Halko et al. 2011, algorithm 4.4)."""


class Tfidf:
    """The features of some texts, and every text as a unit row of them.

    A feature's weight in a text is (1 + ln count) ln(1 + N / texts that have it) (Manning et al. 2008, section 6.4), so that what
    stands everywhere, an instruction for one, hardly counts.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """`rows_NV` are the texts' own rows. Another order of the texts orders the columns otherwise."""
        import numpy as np

        self._columns: dict[str, int] = {}
        counted = _counted(texts, self._columns, grow=True)
        spread_V = np.bincount(counted.indices, minlength=len(self._columns))
        common = spread_V >= (2 if len(texts) >= FEW else 1)
        self._weights_V = np.where(common, np.log1p(len(texts) / np.maximum(spread_V, 1)), 0.0)
        self.rows_NV = self._weighed(counted)

    def rows(self, texts: Sequence[str]) -> Any:
        """Other texts' rows by the same features: (M, V), scipy's CSR; a text without a known feature is a row of zeros."""
        return self._weighed(_counted(texts, self._columns, grow=False))

    def _weighed(self, counted: Any) -> Any:
        import numpy as np

        counted.data = (1 + np.log(counted.data)) * self._weights_V[counted.indices]
        counted.eliminate_zeros()
        lengths_N = np.sqrt(np.asarray(counted.multiply(counted).sum(axis=1)).ravel())
        counted.data /= np.repeat(np.where(lengths_N > 0, lengths_N, 1), np.diff(counted.indptr))
        return counted


class Latent:
    """The main directions of sparse rows (Deerwester et al. 1990), and rows as unit vectors along them."""

    def __init__(self, rows_NV: Any, directions: int = DIRECTIONS) -> None:
        """By subspace iteration from random directions of a fixed seed: the same rows give the same directions."""
        import numpy as np

        count = max(1, min(directions, *rows_NV.shape))
        start = np.random.default_rng(0).standard_normal((rows_NV.shape[1], min(count + OVERSAMPLED, *rows_NV.shape) or 1))
        basis, _ = np.linalg.qr(rows_NV @ start)
        for _ in range(ITERATIONS):
            across, _ = np.linalg.qr(rows_NV.T @ basis)
            basis, _ = np.linalg.qr(rows_NV @ across)
        _, _, right = np.linalg.svd((rows_NV.T @ basis).T, full_matrices=False)
        self.directions_VD: NDArray[np.float64] = right[:count].T

    def vectors(self, rows_NV: Any) -> NDArray[np.float64]:
        """(N, D), each of length 1, or 0 where a text has nothing of them."""
        return unit(rows_NV @ self.directions_VD)


def unit(vectors_ND: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row with length 1; a row of zeros stays."""
    import numpy as np

    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    found: NDArray[np.float64] = vectors_ND / np.where(lengths_N1 > 1e-12, lengths_N1, np.inf)
    return found


def nearest(rows_NV: Any, others_MV: Any, *, block: int = 1000) -> NDArray[np.float64]:
    """(N,): the cosine of each row with the one of `others` most like it, 0 where there are none. Both have unit rows."""
    import numpy as np

    if not others_MV.shape[0]:
        return np.zeros(rows_NV.shape[0])
    turned = others_MV.T.tocsr()
    blocks = [(rows_NV[begin : begin + block] @ turned).max(axis=1) for begin in range(0, rows_NV.shape[0], block)]
    return np.concatenate([each.toarray().ravel() for each in blocks]) if blocks else np.zeros(0)


def _counted(texts: Sequence[str], columns: dict[str, int], *, grow: bool) -> Any:
    """(N, V): how often each feature stands in each text. `grow`: features that are new get a column."""
    import numpy as np
    from scipy.sparse import csr_matrix

    found: list[int] = []
    ends = [0]
    for text in texts:
        if grow:
            found.extend([columns.setdefault(feature, len(columns)) for feature in _features(text)])
        else:
            found.extend([columns[feature] for feature in _features(text) if feature in columns])
        ends.append(len(found))
    shape = len(texts), len(columns)
    counted = csr_matrix((np.ones(len(found)), np.array(found, dtype=np.int64), np.array(ends)), shape=shape)
    counted.sum_duplicates()
    return counted


def _features(text: str) -> list[str]:
    """Its words, and the runs of characters within them; a word is told from a run by what stands before it."""
    found = []
    for word in words(unicodedata.normalize("NFKC", text)):
        found.append(f"\x02{word}")
        padded = f" {word} "
        found += [padded[at : at + GRAM] for at in range(max(1, len(padded) - GRAM + 1))]
    return found

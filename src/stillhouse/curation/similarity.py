"""How alike two prompts are: the Jaccard index of their character 5-grams, found through MinHash and locality-sensitive hashing.

What more than half of the prompts share (an instruction, a template) does not count, or every question behind the same
instruction would be a copy of every other. MinHash proposes pairs (Broder 1997), the exact index decides: there are no false
pairs, and a true one is missed with a probability below 0.1 %.

N: texts, G: grams of one text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from stillhouse.chat import Message
from stillhouse.prompts import normalise
from stillhouse.transcript import message_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GRAM = 5
"""Characters."""
PERMUTATIONS = 128
MISSED = 0.001
"""Highest probability that a pair at the threshold is not proposed."""
COMMON = 0.5
"""A gram in a larger share of the texts than this is part of a template."""
FEW = 20
"""Below so many texts nothing is called a template."""


class Sketch(NamedTuple):
    """A text as sets see it."""

    grams_G: NDArray[np.uint32]
    """Hashes of its grams, sorted, each once."""
    minhash: Any


class NearIndex:
    """Texts that were added, found again by a text like them."""

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHashLSH

        self.threshold = threshold
        self._sketches: dict[int, Sketch] = {}
        self._lsh = MinHashLSH(num_perm=PERMUTATIONS, params=_bands(threshold))

    def add(self, key: int, sketch: Sketch) -> None:
        self._sketches[key] = sketch
        self._lsh.insert(key, sketch.minhash, check_duplication=False)

    def near(self, sketch: Sketch) -> Iterator[tuple[int, float]]:
        """Keys of texts at least as alike as the threshold, in the order they were added, and how alike they are."""
        for key in self.candidates(sketch):
            similarity = self.similarity(key, sketch)
            if similarity >= self.threshold:
                yield key, similarity

    def candidates(self, sketch: Sketch) -> list[int]:
        """Keys of texts that may be that much alike, in the order they were added."""
        return sorted(self._lsh.query(sketch.minhash))

    def similarity(self, key: int, sketch: Sketch) -> float:
        """How alike an added text and another are."""
        return jaccard(self._sketches[key], sketch)


class Groups:
    """Which items belong together (union-find)."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, item: int) -> int:
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def union(self, one: int, other: int) -> None:
        self._parent[self.find(other)] = self.find(one)


def prompt_text(messages: Sequence[Message]) -> str:
    """What is compared of a prompt: the normalised text of every message but the system's, which is the same for all."""
    spoken = [message for message in messages if message.get("role") not in ("system", "developer")]
    return normalise("\n".join(message_text(message) for message in spoken or messages))


def sketches(texts: Sequence[str]) -> list[Sketch]:
    """A sketch of every text, without the grams of the template they share; how often a text stands there does not matter."""
    unique = list(dict.fromkeys(texts))
    of_text = dict(zip(unique, _sketches(unique), strict=True))
    return [of_text[text] for text in texts]


def _sketches(texts: Sequence[str]) -> list[Sketch]:
    from datasketch import MinHash

    model = MinHash(num_perm=PERMUTATIONS)
    found = []
    for grams_G in _without_template([gram_hashes(text) for text in texts]):
        minhash = MinHash(num_perm=PERMUTATIONS, hashfunc=_already_hashed, permutations=model.permutations, scheme=model.scheme)
        minhash.update_batch(grams_G)
        found.append(Sketch(grams_G, minhash))
    return found


def jaccard(one: Sketch, other: Sketch) -> float:
    """How alike two texts are, 0 to 1."""
    return shared_grams(one.grams_G, other.grams_G)


def shared_grams(one_G: NDArray[np.uint32], other_G: NDArray[np.uint32]) -> float:
    """Shared grams / all grams (Jaccard index), 0 to 1. Two texts without grams are alike."""
    import numpy as np

    shared = np.intersect1d(one_G, other_G, assume_unique=True).size
    union = one_G.size + other_G.size - shared
    return shared / union if union else 1.0


def gram_hashes(text: str) -> NDArray[np.uint32]:
    """Hashes of the text's grams, sorted, each once; a text shorter than a gram is one gram."""
    import numpy as np

    # Padding gives the first and the last letters as many grams as those in the middle.
    padded = f"\x02{text}\x03"
    points_G = np.frombuffer(padded.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    count = max(1, len(points_G) - GRAM + 1)
    hashes_G = np.zeros(count, dtype=np.uint64)
    for offset in range(min(GRAM, len(points_G))):
        hashes_G = hashes_G * np.uint64(0x9E3779B97F4A7C15) + points_G[offset : offset + count]
    hashes_G ^= hashes_G >> np.uint64(31)
    return np.unique((hashes_G * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(32)).astype(np.uint32)


def _without_template(grams: list[NDArray[np.uint32]]) -> list[NDArray[np.uint32]]:
    import numpy as np

    if len(grams) < FEW:
        return grams
    values, counts = np.unique(np.concatenate(grams), return_counts=True)
    common = values[counts > COMMON * len(grams)]
    kept = [np.setdiff1d(grams_G, common, assume_unique=True) for grams_G in grams]
    return [rest if rest.size else grams_G for rest, grams_G in zip(kept, grams, strict=True)]


def _bands(threshold: float) -> tuple[int, int]:
    """Bands and rows of the hash tables: as many rows (as few needless comparisons) as `MISSED` allows."""
    for rows in range(PERMUTATIONS, 1, -1):
        bands = PERMUTATIONS // rows
        if (1 - threshold**rows) ** bands <= MISSED:
            return bands, rows
    return PERMUTATIONS, 1


def _already_hashed(value: Any) -> Any:
    return value

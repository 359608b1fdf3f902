"""The next version: the parent's rows as they are, and new ones in train, chosen by what the student got wrong.

Rows of valid and test stay the same, so that two reports can be compared, and nothing that asks what they ask comes into train:
failures point to questions like them, they are never taught themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stillhouse.curation.build import Options, Version, in_order, quarantine_list, reasons, teachers_of, terms_of
from stillhouse.curation.collect import Collected
from stillhouse.curation.duplicates import EXACT, identity, without_duplicates
from stillhouse.curation.leaks import LeakError, find_leaks, leaking_pairs
from stillhouse.curation.similarity import gram_hashes
from stillhouse.dataset import Dataset, Example, strictest
from stillhouse.errors import UsageError
from stillhouse.prompts import normalise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HELD_OUT = "held out: asked in valid or test"
COMMON = 0.5
"""A gram in a larger share of the pool tells no question from another."""


def extend(
    parent: Dataset,
    examples: Sequence[Example],
    new: Collected,
    options: Options | None = None,
    *,
    recipe: dict[str, Any] | None = None,
) -> Version:
    """`parent`, whose rows are `examples`, and the rows of `new` it has not yet, all in train.

    Raises UsageError when nothing new is left, LeakError when the parent leaks more than was accepted for it.
    """
    options = options or Options()
    known = {identity(example) for example in examples}
    fresh = [example.model_copy(update={"split": "train"}) for example in new.examples if identity(example) not in known]
    removed: Counter[str] = Counter(new.removed)
    removed[EXACT] += len(new.examples) - len(fresh)
    fresh = _not_held_out(examples, fresh, options.near_leaks, removed)
    # Parent rows come first and so stay; a near-duplicate among them was accepted when the parent was made.
    train = [example for example in examples if example.split == "train"]
    kept, by_rule = without_duplicates([*train, *fresh], options.near_duplicates)
    removed += by_rule
    ids = {example.id for example in train}
    added = [example for example in kept if example.id not in ids]
    if not added:
        raise UsageError(f"Nothing new for the dataset '{parent.name}'. Left out: {reasons(removed)}.")
    together = [*examples, *added]
    leaks = find_leaks(together, options.near_leaks)
    allowed = parent.waived_leaks + options.allow_leaks
    if len(leaks) > allowed:
        raise LeakError(leaks, allowed)
    return Version(
        name=parent.name,
        examples=in_order(together),
        removed=+removed,
        leaks=leaks,
        parents=(parent.fingerprint,),
        recipe={**(recipe or {}), **options.model_dump(mode="json"), **quarantine_list(new)},
        teachers=dict(Counter(parent.teachers) + Counter(teachers_of(added, new))),
        may_train=strictest(parent.may_train, terms_of(added, new)),
    )


def similar_prompts(wanted: Sequence[str], pool: Sequence[str], *, each: int = 5, least: float = 0.2) -> list[int]:
    """Positions in `pool` of the `each` prompts most like any of `wanted`, at least `least` alike; sorted, each once.

    Alike: cosine of the character 5-grams weighted by their rarity in the pool (TF-IDF with binary counts), 0 to 1.
    """
    import numpy as np

    if not pool:
        return []
    index = _GramIndex([gram_hashes(normalise(text)) for text in pool])
    found: set[int] = set()
    for text in wanted:
        scores_N = index.scores(gram_hashes(normalise(text)))
        best = np.argsort(-scores_N, kind="stable")[:each]
        found.update(int(position) for position in best if scores_N[position] >= least)
    return sorted(found)


class _GramIndex:
    """Which texts hold a gram. N: texts, P: (gram, text) pairs sorted by gram, V: different grams."""

    def __init__(self, grams: Sequence[NDArray[np.uint32]]) -> None:
        import numpy as np

        self.count = len(grams)
        grams_P = np.concatenate(grams)
        texts_P = np.repeat(np.arange(self.count), [grams_G.size for grams_G in grams])
        order_P = np.argsort(grams_P, kind="stable")
        self.texts_P = texts_P[order_P]
        self.grams_V, self.starts_V, counts_V = np.unique(grams_P[order_P], return_index=True, return_counts=True)
        self.counts_V = counts_V
        weights_V = np.log(1 + self.count / counts_V)
        weights_V[counts_V > max(1, COMMON * self.count)] = 0  # of every text, so of none
        self.squares_V = weights_V**2
        norms = np.bincount(self.texts_P, weights=np.repeat(self.squares_V, counts_V), minlength=self.count)
        self.norms_N = np.sqrt(norms)

    def scores(self, grams_G: NDArray[np.uint32]) -> NDArray[np.float64]:
        """Likeness of every text to one with these grams."""
        import numpy as np

        at = np.searchsorted(self.grams_V, grams_G).clip(max=self.grams_V.size - 1)
        known = at[self.grams_V[at] == grams_G]
        scores_N = np.zeros(self.count)
        for gram in known[self.squares_V[known] > 0]:
            start = self.starts_V[gram]
            scores_N[self.texts_P[start : start + self.counts_V[gram]]] += self.squares_V[gram]
        unseen = grams_G.size - known.size
        norm = np.sqrt(self.squares_V[known].sum() + unseen * np.log(1 + self.count) ** 2)
        scale_N = self.norms_N * norm
        found_N: NDArray[np.float64] = np.divide(scores_N, scale_N, out=np.zeros(self.count), where=scale_N > 0)
        return found_N


def _not_held_out(
    examples: Sequence[Example], fresh: Sequence[Example], near: float | None, removed: Counter[str]
) -> list[Example]:
    """The new rows that ask nothing of valid and test."""
    new = {example.id for example in fresh}
    # Beside all the parent's rows: what counts as the template they share depends on who is there.
    leaking = {seen.id for seen, _, _ in leaking_pairs([*examples, *fresh], near) if seen.id in new}
    kept = [example for example in fresh if example.id not in leaking]
    removed[HELD_OUT] += len(fresh) - len(kept)
    return kept

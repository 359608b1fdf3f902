"""Selector `k_center`: texts that are far from everything labelled, and from each other (core-set, Sener & Savarese 2018).

Every text then has a labelled one within the smallest distance that the greedy choice can reach. It goes to the rims, so to
outliers too: `k_means` goes to the middles.
"""

from __future__ import annotations

from stillhouse.selectors.base import Need, Pick, Pool
from stillhouse.similarity.clusters import k_center


class KCenter:
    """1 - cosine with the nearest text that is labelled or was picked before."""

    needs: frozenset[Need] = frozenset({"vectors"})

    def select(self, pool: Pool, n: int) -> list[Pick]:
        assert pool.vectors_ND is not None
        found = k_center(pool.vectors_ND, n, covered_MD=pool.labelled_MD)
        return [
            Pick(place, distance, f"the nearest text that has a label is {1 - distance:.2f} alike") for place, distance in found
        ]

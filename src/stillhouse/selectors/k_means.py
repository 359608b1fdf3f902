"""Selector `k_means`: as many groups of like texts as are wanted, and of each the one nearest to its middle.

Behind a selector of uncertain texts (`margin+k_means`) it is diverse mini-batch active learning (Zhdanov 2019): the groups are
made of the uncertain ones alone, and the more uncertain a text is, the harder it pulls at its group's middle. The largest groups
come first, so a part of the list is a good list too.
"""

from __future__ import annotations

from stillhouse.selectors.base import Need, Pick, Pool
from stillhouse.similarity.clusters import k_means


class KMeans:
    """How many texts (or how much worth) its group has, as a share of the pool's."""

    needs: frozenset[Need] = frozenset({"vectors"})

    def select(self, pool: Pool, n: int) -> list[Pick]:
        import numpy as np

        assert pool.vectors_ND is not None
        count = len(pool.ids)
        if not count:
            return []
        weights_N = np.ones(count) if pool.weights_N is None or not pool.weights_N.any() else pool.weights_N
        clusters = k_means(pool.vectors_ND, min(n, count), seed=pool.seed, weights_N=weights_N)
        sizes_K = np.bincount(clusters.of_N)
        shares_K = np.bincount(clusters.of_N, weights=weights_N) / weights_N.sum()
        picks, rest, seen = [], [], set[int]()
        for place in map(int, np.lexsort((np.arange(count), -clusters.cosine_N))):
            group = int(clusters.of_N[place])
            if group in seen:
                rest.append(Pick(place, 0.0, "one more of a large group"))
            else:
                seen.add(group)
                picks.append(Pick(place, float(shares_K[group]), f"the middle of {sizes_K[group]} like texts"))
        picks.sort(key=lambda pick: (-pick.score, pick.place))
        # Where there are fewer different vectors than texts wanted, those farthest from their middles fill up.
        return (picks + rest[::-1])[:n]

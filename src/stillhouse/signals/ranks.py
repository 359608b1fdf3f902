"""Each row's ids, a set, as small numbers: which of the block's ids they are, the common ones first, and only how far apart.

What is common comes first, so most numbers are small; and a set has no order, so none is paid for: n of D ids spread evenly are
log2(D over n) bits, about log2(D / n) + 1.4 an id. Of the vocabulary nothing is left but the list of the block's ids.

Shapes: N rows, U ids of all rows one after the other, D different ids.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stillhouse.signals.blocks import Array


@dataclass(frozen=True)
class RankedIds:
    """The ids of some rows."""

    known_D: Array
    """int32: the different ids, ascending, each as the ids left out before it."""
    common_D: Array
    """uint8: the bits that the number of its rows takes. More bits, earlier rank; of as many, the smaller id."""
    ranks_U: Array
    """int32: each row's ranks, ascending, each as the ranks left out before it."""


def ranked(ids_U: Array, uniques_N: Array) -> tuple[RankedIds, Array]:
    """The ids as ranks, and the order that they are in then: `ids_U[order_U]`. Each row has an id once at most."""
    known_D, places_U, counts_D = np.unique(ids_U, return_inverse=True, return_counts=True)
    common_D = np.frexp(counts_D.astype(np.float64))[1].astype(np.uint8)
    rank_D = np.empty(len(known_D), np.int64)
    rank_D[_by_rank(common_D)] = np.arange(len(known_D))
    ranks_U = rank_D[places_U]
    order_U = np.lexsort((ranks_U, _owners(uniques_N)))
    return RankedIds(_apart(known_D, np.asarray([len(known_D)])), common_D, _apart(ranks_U[order_U], uniques_N)), order_U


def unranked(rows: RankedIds, uniques_N: Array) -> tuple[Array, Array]:
    """(ids_U, order_U): the ids ascending in their rows, and which of `rows.ranks_U` each is.

    Raises ValueError for ranks of no id.
    """
    known_D = _together(rows.known_D, np.asarray([len(rows.known_D)]))[_by_rank(rows.common_D)]
    ranks_U = _together(rows.ranks_U, uniques_N)
    if len(ranks_U) and int(ranks_U.max()) >= len(known_D):
        raise ValueError("ranks of no id")
    ids_U = known_D[ranks_U]
    order_U = np.lexsort((ids_U, _owners(uniques_N)))
    return ids_U[order_U].astype(np.int32), order_U


def _by_rank(common_D: Array) -> Array:
    by_rank_D: Array = np.argsort(-common_D.astype(np.int64), kind="stable")
    return by_rank_D


def _owners(uniques_N: Array) -> Array:
    return np.repeat(np.arange(len(uniques_N)), uniques_N)


def _apart(values_U: Array, lengths_N: Array) -> Array:
    """Ascending numbers of each row as what is left out before each."""
    before_U = np.concatenate([[-1], values_U[:-1]])[: len(values_U)]
    before_U[_starts(lengths_N)] = -1
    gaps_U: Array = (values_U - before_U - 1).astype(np.int32)
    return gaps_U


def _together(gaps_U: Array, lengths_N: Array) -> Array:
    """What `_apart` was given."""
    sums_U = np.cumsum(gaps_U.astype(np.int64) + 1)
    starts = _starts(lengths_N)
    before_N = np.where(starts > 0, sums_U[starts - 1], 0)
    values_U: Array = sums_U - np.repeat(before_N, lengths_N[lengths_N > 0]) - 1
    return values_U


def _starts(lengths_N: Array) -> Array:
    """Where each row that is not empty begins."""
    starts: Array = (np.cumsum(lengths_N) - lengths_N)[lengths_N > 0]
    return starts

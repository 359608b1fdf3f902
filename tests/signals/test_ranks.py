"""Ids as ranks: given back as they were, in few bytes, and nothing else taken for them."""

from __future__ import annotations

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.signals.blocks import Block, Column
from stillhouse.signals.ranks import RankedIds, ranked, unranked
from stillhouse.signals.tiers import columns_of, expanded, sampled_rows
from tests.signals.said import entries

SETS = st.lists(st.sets(st.integers(0, 2**25 - 1), max_size=9), max_size=8)


@given(SETS)
def test_what_was_ranked_is_given_back(rows: list[set[int]]) -> None:
    ids_U = np.asarray([number for row in rows for number in sorted(row)], dtype=np.int32)
    uniques_N = np.asarray([len(row) for row in rows], dtype=np.int32)
    said, order_U = ranked(ids_U, uniques_N)
    again_U, back_U = unranked(said, uniques_N)
    assert again_U.dtype == np.int32 and again_U.tolist() == ids_U.tolist()
    assert order_U[back_U].tolist() == list(range(len(ids_U))), "what lies beside the ids is put back, too"


def test_common_ids_are_the_small_numbers() -> None:
    said, _ = ranked(np.asarray([7, 900_000, 900_000, 5, 900_000], dtype=np.int32), np.asarray([2, 1, 2]))
    assert (said.known_D.tolist(), said.common_D.tolist()) == ([5, 1, 899_992], [1, 1, 2])
    assert said.ranks_U.tolist() == [0, 1, 0, 0, 0]  # {0, 2}, {0}, {0, 1}


def test_ranks_of_no_id_are_refused() -> None:
    said = RankedIds(np.asarray([3], np.int32), np.asarray([1], np.uint8), np.asarray([0, 1], np.int32))
    with pytest.raises(ValueError, match="ranks of no id"):
        unranked(said, np.asarray([1, 1]))


def test_a_large_vocabulary_of_which_little_is_used_costs_nothing() -> None:
    random = np.random.default_rng(0)
    used = random.permutation(151_936)[:5000].astype(np.int32)
    draws_NS = used[np.minimum(random.zipf(1.3, size=(3000, 50)) - 1, 4999)]
    sizes = [packed(draws_NS, vocabulary=151_936), packed(np.searchsorted(np.sort(used), draws_NS), vocabulary=5000)]
    assert sizes[0] < 1.15 * sizes[1]


def packed(draws_NS: np.ndarray, vocabulary: int) -> int:
    """Bytes of all columns but the counts'."""
    columns = columns_of(sampled_rows(draws_NS), np.asarray([len(draws_NS)]), vocabulary)
    planes = [columns[name].values.reshape(-1, 1).view(np.uint8).T for name in ("known", "common", "ranks")]
    return sum(len(zstandard.compress(each.tobytes())) for each in planes)


def test_blocks_from_before_there_were_ranks_are_read() -> None:
    rows = sampled_rows(np.random.default_rng(0).integers(0, 40, size=(5, 12)))
    counts = np.asarray([3, 2])
    kept = expanded(Block(tuple(entries([3, 2])), columns_of(rows, counts, 40)), "sampled")
    first = np.zeros(5 * 12, np.uint8)
    first[np.cumsum(rows.counts_U) - rows.counts_U] = 1
    old = {
        "ids": Column(rows.ids_U, kept.columns["ids"].lengths, "bits", 40),
        "borders": Column(first.reshape(5, 12)[:, 1:], None, "bits", 2),
    }
    read = expanded(Block(tuple(entries([3, 2])), old), "sampled")
    for name in ("ids", "counts", "uniques"):
        assert read.columns[name].values.tolist() == kept.columns[name].values.tolist()
        assert read.borders(name).tolist() == kept.borders(name).tolist()

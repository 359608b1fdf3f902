"""Coverage: every planted group of texts is reached, and what is labelled is kept away from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stillhouse.selectors.base import Pool
from stillhouse.selectors.chain import selector_of
from tests.selectors.pools import bunches, opinion


def pool_of(vectors_ND: NDArray[np.float64], labelled: list[int] | None = None) -> Pool:
    known = None if labelled is None else vectors_ND[labelled]
    ids = tuple(f"id{place:05d}" for place in range(len(vectors_ND)))
    return Pool(ids=ids, vectors_ND=vectors_ND, labelled_MD=known)


@pytest.mark.parametrize("by", ["k_center", "k_means"])
@settings(max_examples=20, deadline=None)
@given(count=st.integers(2, 10), each=st.integers(1, 15), seed=st.integers(0, 1000))
def test_as_many_picks_as_groups_cover_every_group(by: str, count: int, each: int, seed: int) -> None:
    picks = selector_of(by).select(pool_of(bunches(count, each, seed, width=0.01)), count)
    covered = {pick.place // each for pick in picks}
    # k-means may begin twice in one group where two of its vectors are drawn by a tiny chance; k-center cannot.
    assert len(covered) >= (count if by == "k_center" else count - 1)


def test_k_center_keeps_away_from_what_is_labelled() -> None:
    vectors = bunches(5, 10)
    picks = selector_of("k_center").select(pool_of(vectors, labelled=[0, 11, 22]), 2)
    assert {pick.place // 10 for pick in picks} == {3, 4}
    assert all(pick.score > 0.9 for pick in picks)


def test_k_means_takes_the_middle_of_the_largest_group_first() -> None:
    vectors = np.concatenate([bunches(1, 30), bunches(2, 5)[5:]])
    picks = selector_of("k_means").select(pool_of(vectors), 2)
    assert [pick.place < 30 for pick in picks] == [True, False]
    assert picks[0].score == pytest.approx(30 / 35)


def test_coverage_within_the_uncertain_stays_there() -> None:
    """Half of every group is uncertain; the picks come from those halves, one a group."""
    vectors = bunches(4, 20, width=0.01)
    opinions = tuple(opinion(0.5, 0.5) if place % 2 else opinion(0.99, 0.01) for place in range(80))
    pool = Pool(ids=tuple(f"id{place:02d}" for place in range(80)), vectors_ND=vectors, opinions=opinions)
    picks = selector_of("margin+k_means").select(pool, 4)
    assert all(pick.place % 2 for pick in picks)
    assert len({pick.place // 20 for pick in picks}) == 4


def test_copies_of_one_vector_still_give_as_many_texts_as_wanted() -> None:
    same = np.repeat(bunches(1, 1), 8, axis=0)
    for by in ("k_center", "k_means"):
        assert len({pick.place for pick in selector_of(by).select(pool_of(same), 5)}) == 5

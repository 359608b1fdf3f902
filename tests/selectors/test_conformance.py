"""What holds for every selector of the table, and for chains of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.errors import UsageError
from stillhouse.selectors import SELECTORS
from stillhouse.selectors.chain import selector_of
from tests.selectors.pools import a_pool

SPECS = [*SELECTORS.names(), "margin+k_means", "entropy + k_center"]


@pytest.mark.parametrize("spec", SPECS)
@settings(max_examples=15, deadline=None)
@given(size=st.integers(0, 40), n=st.integers(1, 50), seed=st.integers(0, 5))
def test_picks_are_different_texts_and_the_same_every_time(spec: str, size: int, n: int, seed: int) -> None:
    pool = replace(a_pool(size, seed), seed=seed)
    picks = selector_of(spec).select(pool, n)
    places = [pick.place for pick in picks]
    assert len(set(places)) == len(places) <= n
    assert all(0 <= place < size for place in places)
    assert all(pick.reason for pick in picks)
    if spec != "disagreement":
        assert len(picks) == min(n, size), "a selector gives as many as are wanted, where there are so many"
    assert selector_of(spec).select(pool, n) == picks


@pytest.mark.parametrize("spec", SPECS)
def test_a_selector_looks_at_what_it_says_it_needs_and_at_nothing_else(spec: str) -> None:
    pool, selector = a_pool(), selector_of(spec)
    blind = replace(
        pool,
        vectors_ND=pool.vectors_ND if "vectors" in selector.needs else None,
        labelled_MD=pool.labelled_MD if "vectors" in selector.needs else None,
        opinions=pool.opinions if selector.needs & {"distributions", "answers"} else (),
        answers=pool.answers if "answers" in selector.needs else (),
    )
    assert selector.select(blind, 7) == selector.select(pool, 7)


def test_an_unknown_one_is_an_error_that_lists_them() -> None:
    with pytest.raises(UsageError, match="margin"):
        selector_of("margin+nonsense")

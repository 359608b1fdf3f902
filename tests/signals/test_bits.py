from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.signals.bits import WIDEST, pack, unpack, width_of


@given(st.integers(1, WIDEST), st.data())
def test_what_is_unpacked_is_what_was_packed(width: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, 2**width - 1), max_size=50))
    packed = pack(np.asarray(values, dtype=np.int64), width)
    assert len(packed) == -(-len(values) * width // 8)
    assert unpack(packed, width, len(values)).tolist() == values


@pytest.mark.parametrize(("bound", "width"), [(1, 1), (2, 1), (3, 2), (128, 7), (129, 8), (151_936, 18), (2**25, 25)])
def test_a_bound_needs_so_many_bits(bound: int, width: int) -> None:
    assert width_of(bound) == width


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="8 does not fit into 3 bits"):
        pack(np.asarray([1, 8]), 3)


def test_a_bound_that_is_too_wide_is_refused() -> None:
    with pytest.raises(ValueError, match="26 bits"):
        width_of(2**25 + 1)


def test_bytes_that_are_too_few_are_refused() -> None:
    with pytest.raises(ValueError, match="do not hold 3 numbers"):
        unpack(b"\0", 4, 3)

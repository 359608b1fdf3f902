from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.training.schedule import rate_factor

Kind = Literal["cosine", "linear", "constant"]
KINDS: tuple[Kind, ...] = ("cosine", "linear", "constant")


@given(st.integers(1, 500), st.floats(0, 0.99), st.sampled_from(KINDS))
def test_it_rises_to_the_rate_and_never_leaves_it_or_zero(steps: int, warmup: float, schedule: Kind) -> None:
    factors = [rate_factor(step, steps, warmup=warmup, schedule=schedule) for step in range(steps)]
    top = factors.index(max(factors))
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert max(factors) == pytest.approx(1.0)


def test_the_schedules_halfway() -> None:
    assert rate_factor(50, 100, warmup=0, schedule="cosine") == pytest.approx(0.5)
    assert rate_factor(50, 100, warmup=0, schedule="linear") == pytest.approx(0.5)
    assert rate_factor(99, 100, warmup=0.5, schedule="constant") == 1.0
    assert rate_factor(0, 100, warmup=0.1, schedule="cosine") == pytest.approx(0.1)

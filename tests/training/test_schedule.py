from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import RecipeError
from stillhouse.recipe import Recipe, Stage, Student, Training
from stillhouse.training.schedule import rate_factor, rate_of, steps_of

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


def staged(**stage: float) -> Recipe:
    stages = (Stage(share=0.25), Stage(share=0.5, **stage), Stage(share=0.25))
    training = Training(learning_rate=1.0, warmup=0.0, schedule="linear")
    return Recipe(student=Student(kind="causal"), stages=stages, training=training)


def test_without_rates_of_their_own_stages_share_one_schedule() -> None:
    rate = rate_of(staged(), 8)
    assert [rate(step) for step in range(8)] == [1 - step / 8 for step in range(8)]


def test_a_stage_can_have_a_rate_of_its_own_and_a_schedule_within_it() -> None:
    rate = rate_of(staged(learning_rate=0.2), 8)
    expected = [1.0, 7 / 8, 0.2, 0.15, 0.1, 0.05, 2 / 8, 1 / 8]
    assert [rate(step) for step in range(8)] == pytest.approx(expected)


@pytest.mark.parametrize("lengths", [{}, {"steps": 3, "epochs": 1.0}])
def test_how_long_is_said_in_one_way(lengths: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="steps = 1000, or epochs = 3"):
        steps_of(Training(**lengths), 10)
    assert steps_of(Training(epochs=1.25), 10) == 13

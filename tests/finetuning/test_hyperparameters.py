"""What `"auto"` becomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.finetuning.bases import Base
from stillhouse.finetuning.hyperparameters import auto_batch, auto_epochs, base_rate, resolve
from stillhouse.finetuning.request import DpoHyperparameters, Hyperparameters

BASE = Base(name="b", student={"kind": "causal"}, parameters=10**6, pretrained=True)


@given(st.integers(1, 10**6))
def test_epochs_and_batches_stay_within_bounds(examples: int) -> None:
    epochs, batch = auto_epochs(examples), auto_batch(examples)
    assert 1 <= epochs <= 25 and 1 <= batch <= 32
    assert examples * epochs <= max(25_000, 3 * examples if examples * 3 <= 25_000 else 25_000) or epochs == 1
    assert examples * epochs >= 100 - examples or epochs == 25  # whole epochs: one more would be too many


@pytest.mark.parametrize(("examples", "epochs"), [(1, 25), (10, 10), (33, 3), (34, 3), (5_000, 3), (10_000, 2), (100_000, 1)])
def test_epochs_follow_openais_rule(examples: int, epochs: int) -> None:
    assert auto_epochs(examples) == epochs


def test_the_rate_falls_with_the_root_of_the_size() -> None:
    assert base_rate(10**6) == pytest.approx(1e-3) and base_rate(10**8) == pytest.approx(1e-4)
    assert base_rate(1) == base_rate(1000) and base_rate(10**13) == 5e-6


def test_what_was_given_stays() -> None:
    given_ = Hyperparameters(batch_size=3, n_epochs=2, learning_rate_multiplier=0.5)
    resolved = resolve(given_, BASE, 1000)
    assert (resolved.batch_size, resolved.n_epochs) == (3, 2)
    assert resolved.learning_rate == pytest.approx(5e-4)
    assert resolve(Hyperparameters(), BASE, 1000, adapted=True).learning_rate == pytest.approx(1e-2)
    assert resolve(DpoHyperparameters(), BASE, 1000, gentle=True).learning_rate == pytest.approx(1e-4)

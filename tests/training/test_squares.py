"""Regression: squared distances from the given numbers and from the teacher's, one teacher or several.

Shapes: N rows, S sources.
"""

from __future__ import annotations

import pytest
import torch

from stillhouse.errors import RecipeError
from stillhouse.losses.sources import Dense, Mixture, Sparse
from stillhouse.tensors import Batch, Head, Output
from stillhouse.training.squares import squared_sums

NUMBERS_N = torch.tensor([1.0, 2.0])
BATCH = Batch(
    examples=("a", "b"),
    inputs={},
    positions_N=torch.arange(2),
    targets_N=torch.tensor([0.0, 4.0]),
    weights_N=torch.ones(2),
    owners_N=torch.arange(2),
    real_tokens=2,
)
OUTPUT = Output(NUMBERS_N[:, None], Head(torch.ones(1, 1)))


def test_several_teachers_say_the_weighted_mean_of_their_numbers() -> None:
    sources = (Dense(torch.tensor([[3.0], [0.0]])), Dense(torch.tensor([[5.0], [2.0]])))
    mixture = Mixture(sources, torch.tensor([[0.5, 0.5], [0.0, 1.0]]))
    sums = squared_sums(OUTPUT, BATCH, ce_N=torch.tensor([1.0, 0.5]), kd_N=torch.tensor([2.0, 1.0]), source=mixture)
    assert sums.divergence_N.tolist() == [9.0, 0.0]  # from 4 and 2
    assert sums.cross_entropy_N.tolist() == [1.0, 4.0]
    assert sums.total.item() == 2 * 9 + 1 * 1 + 0.5 * 4


def test_a_cache_of_tokens_holds_no_numbers() -> None:
    tokens = Sparse(torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2, 1), 1)
    with pytest.raises(RecipeError, match=r'set \[method\] cache.tier = "logits"'):
        squared_sums(OUTPUT, BATCH, ce_N=torch.ones(2), kd_N=torch.ones(2), source=tokens)

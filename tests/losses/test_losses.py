"""What every loss in the registry must hold, and what each one's formula says.

Shapes: N rows, V vocabulary.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stillhouse.losses import LOSSES
from stillhouse.losses.base import Loss, Target

N, V = 5, 7
every_loss = pytest.mark.parametrize("name", LOSSES.names())


def build(name: str, **options: float) -> Loss:
    loss: Loss = LOSSES.resolve(name)(**options)
    return loss


def scores(seed: int, *, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(N, V, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 3


def target(seed: int = 1, *, dtype: torch.dtype = torch.float64) -> Target:
    tokens_N = torch.randint(V, (N,), generator=torch.Generator().manual_seed(seed))
    return Target(tokens_N, scores(seed, dtype=dtype).log_softmax(-1))


@every_loss
def test_it_is_one_number_a_row_and_never_negative(name: str) -> None:
    for seed in range(20):
        loss_N = build(name)(scores(seed), target(seed + 100))
        assert loss_N.shape == (N,)
        assert (loss_N >= 0).all()


@every_loss
def test_its_closed_form_is_its_gradient(name: str) -> None:
    scores_NV, given = scores(0).requires_grad_(), target()
    [expected_NV] = torch.autograd.grad(build(name)(scores_NV, given).sum(), scores_NV)
    loss_N, gradient_NV = build(name).value_and_gradient(scores_NV.detach().log_softmax(-1), given)
    assert torch.allclose(loss_N, build(name)(scores_NV, given))
    if name != "cross_entropy":
        assert (gradient_NV - expected_NV).abs().max() < 1e-12


def test_forward_kl_of_two_known_distributions() -> None:
    student, teacher = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    expected = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert build("forward_kl")(student, Target(torch.tensor([0]), teacher)).item() == pytest.approx(expected, abs=1e-6)

"""What every loss in the registry must hold, and what each one's formula says.

Shapes: N positions, V vocabulary.
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
every_temperature = pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])


def build(name: str, temperature: float = 1.0) -> Loss:
    loss: Loss = LOSSES.resolve(name)(temperature=temperature)
    return loss


def scores(seed: int, *, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(N, V, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 3


def target(seed: int = 1, *, dtype: torch.dtype = torch.float64) -> Target:
    tokens_N = torch.randint(V, (N,), generator=torch.Generator().manual_seed(seed))
    return Target(tokens_N, scores(seed, dtype=dtype))


def agreement() -> tuple[Tensor, Target]:
    """A student and a target that say the same, for losses of any signal: the token has all the mass on both sides."""
    tokens_N = torch.arange(N) % V
    logits_NV = torch.nn.functional.one_hot(tokens_N, V).double() * 1e4
    return logits_NV, Target(tokens_N, logits_NV.clone())


@every_loss
@every_temperature
def test_it_is_zero_at_agreement(name: str, temperature: float) -> None:
    logits_NV, agreed = agreement()
    assert build(name, temperature)(logits_NV, agreed).abs().max() < 1e-12


@every_loss
@every_temperature
def test_it_is_one_number_a_position_and_never_negative(name: str, temperature: float) -> None:
    for seed in range(20):
        loss_N = build(name, temperature)(scores(seed), target(seed + 100))
        assert loss_N.shape == (N,)
        assert (loss_N >= 0).all()


@every_loss
@every_temperature
def test_its_gradient_is_the_finite_difference(name: str, temperature: float) -> None:
    logits_NV = scores(0).requires_grad_()
    fixed, loss = target(), build(name, temperature)
    assert torch.autograd.gradcheck(lambda x: loss(x, fixed), (logits_NV,))


@every_loss
def test_positions_do_not_touch_each_other(name: str) -> None:
    logits_NV = scores(0).requires_grad_()
    [gradient_NV] = torch.autograd.grad(build(name)(logits_NV, target())[2], logits_NV)
    assert gradient_NV[2].abs().sum() > 0
    assert gradient_NV[[0, 1, 3, 4]].abs().sum() == 0


@every_loss
def test_adding_a_constant_to_all_scores_changes_nothing(name: str) -> None:
    assert torch.allclose(build(name)(scores(0) + 17.0, target()), build(name)(scores(0), target()))


@every_loss
def test_half_precision_is_computed_in_float32(name: str) -> None:
    rough = scores(0, dtype=torch.float16)
    given = target(dtype=torch.float16)
    loss_N = build(name)(rough, given)
    assert loss_N.dtype == torch.float32
    exact_N = build(name)(rough.double(), Target(given.tokens_N, scores(1, dtype=torch.float16).double()))
    assert torch.allclose(loss_N.double(), exact_N, atol=1e-5)


@every_loss
def test_enormous_scores_stay_finite(name: str) -> None:
    logits_NV = (scores(0) * 1e4).requires_grad_()
    loss_N = build(name)(logits_NV, Target(target().tokens_N, scores(1) * 1e4))
    loss_N.sum().backward()  # type: ignore[no-untyped-call]
    assert logits_NV.grad is not None
    assert loss_N.isfinite().all() and logits_NV.grad.isfinite().all()


def test_cross_entropy_is_the_negative_log_probability() -> None:
    logits_NV = torch.tensor([[0.0, math.log(3.0)]])
    assert build("cross_entropy")(logits_NV, Target(torch.tensor([0]))).item() == pytest.approx(math.log(4.0))


def test_forward_kl_is_zero_at_equality_whatever_the_entropy() -> None:
    assert build("forward_kl", 2.0)(scores(3), Target(target().tokens_N, scores(3))).abs().max() < 1e-12


def test_forward_kl_of_two_known_distributions() -> None:
    student, teacher = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    expected = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert build("forward_kl")(student, Target(torch.tensor([0]), teacher)).item() == pytest.approx(expected, abs=1e-6)


def test_forward_kl_is_not_symmetric() -> None:
    loss, tokens_N = build("forward_kl"), target().tokens_N
    there, back = loss(scores(0), Target(tokens_N, scores(1))), loss(scores(1), Target(tokens_N, scores(0)))
    assert not torch.allclose(there, back)


def test_forward_kl_times_t_squared_tends_to_matching_centred_logits() -> None:
    """Hinton et al. 2015, section 2.1: half the mean squared difference of zero-mean logits."""
    temperature = 1e4
    difference_NV = scores(0) - scores(1)
    centred_NV = difference_NV - difference_NV.mean(dim=-1, keepdim=True)
    limit_N = centred_NV.square().sum(dim=-1) / (2 * V)
    loss_N = build("forward_kl", temperature)(scores(0), target(1)) * temperature**2
    assert torch.allclose(loss_N, limit_N, rtol=1e-3)


def test_forward_kl_bears_a_token_that_the_teacher_rules_out() -> None:
    teacher_NV = scores(1)
    teacher_NV[:, 0] = -math.inf
    logits_NV = scores(0).requires_grad_()
    loss_N = build("forward_kl")(logits_NV, Target(target().tokens_N, teacher_NV))
    loss_N.sum().backward()  # type: ignore[no-untyped-call]
    assert logits_NV.grad is not None
    assert loss_N.isfinite().all() and logits_NV.grad.isfinite().all()


def test_forward_kl_without_logits_is_refused() -> None:
    with pytest.raises(ValueError, match="teacher's logits"):
        build("forward_kl")(scores(0), Target(target().tokens_N))

"""Hidden states and embeddings, against the formulas written out example by example."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cosine_similarity, layer_norm

from stillhouse.features.hidden_states import HiddenStates
from tests.features.sides import LENGTHS, built, mask, states

STUDENT, TEACHER = states(0), states(1)
LAYERS = (1, 2)


def real(layer: int, example: int, *, teacher: bool = False) -> torch.Tensor:
    return (TEACHER if teacher else STUDENT).hidden[layer][example, : LENGTHS[example]]


def test_mse_is_the_squared_error_over_the_teachers_mean_square() -> None:
    loss_B = built("hidden_states", normalise=False)(STUDENT, TEACHER, LAYERS)
    for i in range(4):
        s, t = real(1, i), real(2, i, teacher=True)
        torch.testing.assert_close(loss_B[i], (s - t).square().mean() / t.square().mean())


def test_normalised_mse_is_that_of_layer_norms() -> None:
    loss_B = built("hidden_states")(STUDENT, TEACHER, LAYERS)
    for i in range(4):
        s, t = (layer_norm(value, (8,), eps=0.0) for value in (real(1, i), real(2, i, teacher=True)))
        torch.testing.assert_close(loss_B[i], (s - t).square().mean())


def test_cosine_is_one_minus_the_mean_cosine() -> None:
    loss_B = built("hidden_states", metric="cosine")(STUDENT, TEACHER, LAYERS)
    for i in range(4):
        torch.testing.assert_close(loss_B[i], 1 - cosine_similarity(real(1, i), real(2, i, teacher=True), dim=-1).mean())


def test_embeddings_are_layer_zero_of_both() -> None:
    loss_B = built("embeddings", normalise=False)(STUDENT, TEACHER, (0, 0))
    s, t = real(0, 0), real(0, 0, teacher=True)
    torch.testing.assert_close(loss_B[0], (s - t).square().mean() / t.square().mean())


@pytest.mark.parametrize(("student_width", "teacher_width"), [(6, 8), (8, 6)])
def test_the_projection_begins_orthonormal_and_is_trained(student_width: int, teacher_width: int) -> None:
    loss = built("hidden_states", student_width, teacher_width)
    [weight_CS] = loss.parameters()
    assert weight_CS.shape == (teacher_width, student_width)
    narrow = weight_CS.T @ weight_CS if student_width < teacher_width else weight_CS @ weight_CS.T
    torch.testing.assert_close(narrow, torch.eye(6, dtype=torch.float64), atol=1e-6, rtol=0)
    loss(states(0, width=student_width), states(1, width=teacher_width), LAYERS).sum().backward()
    assert weight_CS.grad is not None and weight_CS.grad.abs().sum() > 0


def test_the_projection_is_drawn_from_its_generator_alone() -> None:
    def weight(seed: int) -> torch.Tensor:
        loss = HiddenStates()
        loss.prepare(4, 8, torch.Generator().manual_seed(seed))
        return next(loss.parameters())

    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = weight(0)
    assert torch.equal(torch.get_rng_state(), before)  # the run's own numbers are as they were
    torch.manual_seed(6)
    assert torch.equal(weight(0), first) and not torch.equal(weight(1), first)


def test_equal_widths_need_no_projection() -> None:
    assert list(built("hidden_states", 8, 8).parameters()) == []


def test_a_large_constant_state_is_no_direction() -> None:
    """What is left of a constant after its mean is taken off is rounding, and must not be blown up to a state."""
    constant = replace(states(0), hidden=(torch.full((4, 6, 8), 0.1 + 1e4, dtype=torch.float32),) * 3, mask_BT=mask())
    assert (built("hidden_states").float()(constant, TEACHER, LAYERS) - 1).abs().max() < 1e-5  # 0 against a unit variance

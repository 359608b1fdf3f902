"""What each loss's own formula says, where the properties of all losses do not tell it from another."""

from __future__ import annotations

import math

import pytest
import torch

from stillhouse.losses.base import Target
from stillhouse.losses.taid import TAID
from tests.losses.cases import N, V, build, by_autograd, counted, scores, target

TEACHER, STUDENT = (0.7, 0.2, 0.1), (0.2, 0.3, 0.5)


def of_two(name: str, **options: float) -> float:
    """The loss of TEACHER and STUDENT."""
    given = Target(torch.tensor([0]), torch.tensor([TEACHER], dtype=torch.float64).log())
    return float(build(name, **options)(torch.tensor([STUDENT], dtype=torch.float64).log(), given))


def kl(p: tuple[float, ...], q: tuple[float, ...]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def mix(p: tuple[float, ...], q: tuple[float, ...], share: float) -> tuple[float, ...]:
    return tuple(share * a + (1 - share) * b for a, b in zip(p, q, strict=True))


def test_each_is_the_formula_of_its_paper() -> None:
    forward, reverse = kl(TEACHER, STUDENT), kl(STUDENT, TEACHER)
    mixed = mix(TEACHER, STUDENT, 0.3)
    expected = {
        "forward_kl": forward,
        "reverse_kl": reverse,
        "symmetric_kl": (forward + reverse) / 2,
        "total_variation": 0.5,
        "skew_kl": kl(TEACHER, mix(TEACHER, STUDENT, 0.1)),
        "skew_reverse_kl": kl(STUDENT, mix(STUDENT, TEACHER, 0.1)),
        "cross_entropy": -math.log(0.2),
    }
    for name, value in expected.items():
        assert of_two(name) == pytest.approx(value, rel=1e-12), name
    assert of_two("jensen_shannon", beta=0.3) == pytest.approx(0.3 * kl(TEACHER, mixed) + 0.7 * kl(STUDENT, mixed), rel=1e-12)


def test_jensen_shannon_is_a_kl_at_each_end_and_normalised_it_comes_near_them() -> None:
    assert of_two("jensen_shannon", beta=0.0) == pytest.approx(kl(TEACHER, STUDENT))
    assert of_two("jensen_shannon", beta=1.0) == pytest.approx(kl(STUDENT, TEACHER))
    assert of_two("jensen_shannon", beta=1e-4) < 1e-3 * kl(TEACHER, STUDENT)
    assert of_two("jensen_shannon", beta=1e-4, normalise=True) == pytest.approx(kl(TEACHER, STUDENT), rel=1e-3)
    assert of_two("jensen_shannon", beta=1 - 1e-4, normalise=True) == pytest.approx(kl(STUDENT, TEACHER), rel=1e-3)


def test_adaptive_kl_weighs_by_the_gap_in_the_head() -> None:
    """The head is the first token alone (0.7 >= 0.5): its gap is 0.5 of 1.0."""
    assert of_two("adaptive_kl") == pytest.approx((kl(TEACHER, STUDENT) + kl(STUDENT, TEACHER)) / 2)
    assert of_two("adaptive_kl", mass=0.75) == pytest.approx(0.6 * kl(TEACHER, STUDENT) + 0.4 * kl(STUDENT, TEACHER))


def test_top_k_of_all_tokens_is_the_dense_one() -> None:
    dense_N, dense_NV = by_autograd(build("forward_kl"), scores(0), target())
    for k in (V, 10 * V):
        loss_N, gradient_NV = by_autograd(build("top_k", k=k), scores(0), target())
        assert torch.allclose(loss_N, dense_N, atol=1e-12)
        assert torch.allclose(gradient_NV, dense_NV, atol=1e-12)


def test_top_k_says_the_same_of_kept_tokens_in_any_order_and_filled_up() -> None:
    given = target()
    assert given.log_probs_NV is not None
    log_p_NK, ids_NK = given.log_probs_NV.topk(3, dim=-1)
    order = torch.tensor([2, 0, 1])
    filler_NK = torch.full((N, 2), -math.inf, dtype=torch.float64)
    kept = Target(
        given.tokens_N,
        ids_NK=torch.cat([ids_NK[:, order], ids_NK[:, :1], ids_NK[:, :1]], dim=-1),
        log_probs_NK=torch.cat([log_p_NK[:, order], filler_NK], dim=-1),
    )
    expected_N, expected_NV = by_autograd(build("top_k", k=3), scores(0), given)
    loss_N, gradient_NV = build("top_k").value_and_gradient(scores(0).log_softmax(-1), kept)
    assert torch.allclose(loss_N, expected_N, atol=1e-12)
    assert torch.allclose(gradient_NV, expected_NV, atol=1e-12)
    assert torch.allclose(by_autograd(build("top_k"), scores(0), kept)[1], expected_NV, atol=1e-12)


def test_top_k_grows_with_k_towards_the_whole_divergence() -> None:
    loss_KN = torch.stack([build("top_k", k=k)(scores(0), target()) for k in range(1, V + 1)])
    assert (loss_KN.diff(dim=0) >= -1e-12).all()


def test_a_student_without_tail_mass_keeps_the_teachers_tail_as_it_is() -> None:
    """The student's tail is lifted to 1e-6 in the logarithm; a weight that was clamped too would count tokens nobody has."""
    sure_1V = torch.tensor([[60.0, 0.0, 0.0]], dtype=torch.float64)
    given = Target(torch.tensor([0]), torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64).log())
    expected = 0.6 * math.log(0.6) + 0.4 * math.log(0.4 / 1e-6)
    assert build("top_k", k=1)(sure_1V, given).item() == pytest.approx(expected, rel=1e-9)
    assert torch.allclose(
        build("top_k", k=1).value_and_gradient(sure_1V.log_softmax(-1), given)[1],
        by_autograd(build("top_k", k=1), sure_1V, given)[1],
        atol=1e-12,
    )


def test_sampled_gradients_have_the_forward_kls_as_their_mean() -> None:
    draws, samples, given = 2000, 4, target()
    assert given.log_probs_NV is not None
    loss, log_q_NV = build("sampled", samples=samples), scores(0).log_softmax(-1)
    _, expected_NV = by_autograd(build("forward_kl"), scores(0), given)
    mean_NV = torch.stack([loss.value_and_gradient(log_q_NV, given)[1] for _ in range(draws)]).mean(dim=0)
    p_NV = given.log_probs_NV.exp()
    error_NV = (p_NV * (1 - p_NV) / (samples * draws)).sqrt()
    assert ((mean_NV - expected_NV).abs() / error_NV).max() < 4  # standard errors, of 35 numbers


def test_sampled_of_counts_that_are_the_probabilities_is_the_forward_kl() -> None:
    given = target()
    assert given.log_probs_NV is not None
    exact_N, exact_NV = by_autograd(build("forward_kl"), scores(0), given)
    loss_N, gradient_NV = by_autograd(build("sampled"), scores(0), counted(given.log_probs_NV))
    assert torch.allclose(loss_N, exact_N)
    assert torch.allclose(gradient_NV, exact_NV)


def test_sampled_draws_anew_each_time_by_the_random_numbers_that_a_step_begins_with() -> None:
    loss = build("sampled")
    first_N, second_N = loss(scores(0), target()), loss(scores(0), target())
    assert not torch.equal(first_N, second_N)
    torch.manual_seed(0)
    assert torch.equal(loss(scores(0), target()), first_N)
    assert loss.state() == {}


def test_taid_starts_near_the_student_and_ends_at_the_teacher() -> None:
    loss = TAID()
    whole_N = build("forward_kl")(scores(0), target())
    assert (loss(scores(0), target()) < whole_N).all()
    loss.advance(1.0, 1.0)
    assert torch.allclose(loss(scores(0), target()), whole_N)


def test_taid_moves_as_its_algorithm_says_and_resumes_there() -> None:
    loss = TAID(start=0.4, end=1.0, alpha=0.5, beta=0.9)
    loss.advance(0.0, 2.0)
    assert loss.state() == {"t": 0.4, "momentum": 0.0, "before": 2.0}
    loss.advance(0.0, 1.0)
    momentum = 0.1 * (2.0 - 1.0) / 2.0
    t = 0.4 + 0.5 / (1 + math.exp(-momentum)) * 0.6
    assert loss.state() == pytest.approx({"t": t, "momentum": momentum, "before": 1.0})
    resumed = TAID(start=0.4, end=1.0, alpha=0.5, beta=0.9)
    resumed.load_state(loss.state())
    for one in (loss, resumed):
        one.advance(0.1, 0.8)
    assert resumed.state() == loss.state()
    resumed.advance(0.9, math.nan)
    assert resumed.state()["t"] == pytest.approx(0.94)

"""What every loss in the registry must hold: the same properties for all, whatever the formula.

Shapes: N rows, V vocabulary.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.losses import LOSSES
from stillhouse.losses.base import Target
from tests.losses.cases import N, V, build, by_autograd, counted, scores, target

NOT_TO_THE_DISTRIBUTION = {"cross_entropy", "sampled"}
"""Zero where the student gives the token, or the draws, all its mass: they see less than the whole distribution."""

every_loss = pytest.mark.parametrize("name", LOSSES.names())
every_divergence = pytest.mark.parametrize("name", sorted(set(LOSSES.names()) - NOT_TO_THE_DISTRIBUTION))
OPTIONS = [
    *[("jensen_shannon", {"beta": beta, "normalise": scaled}) for beta in (0.0, 0.1, 0.5, 0.9, 1.0) for scaled in (False, True)],
    *[(name, {"alpha": alpha}) for name in ("skew_kl", "skew_reverse_kl") for alpha in (0.01, 0.5, 0.9)],
    *[("symmetric_kl", {"ratio": ratio}) for ratio in (0.0, 0.3, 1.0)],
    *[("adaptive_kl", {"mass": mass}) for mass in (0.0, 0.2, 0.9, 1.0)],
    *[("taid", {"start": start}) for start in (0.0, 0.7, 1.0)],
    *[("top_k", {"k": k}) for k in (1, 3, V, 100)],
    ("sampled", {"samples": 3}),
]


@every_loss
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), spread=st.floats(0.01, 20.0))
def test_it_is_one_number_a_row_and_never_negative(name: str, seed: int, spread: float) -> None:
    loss_N = build(name)(scores(seed, spread=spread), target(seed + 1, spread=spread))
    assert loss_N.shape == (N,)
    assert (loss_N >= -1e-12).all()


@every_divergence
def test_it_is_zero_where_student_and_teacher_agree(name: str) -> None:
    same_NV = scores(3)
    given = Target(target().tokens_N, same_NV.log_softmax(-1))
    loss_N, gradient_NV = by_autograd(build(name), same_NV, given)
    assert loss_N.abs().max() < 1e-12
    assert gradient_NV.abs().max() < 1e-12
    assert (build(name)(scores(4), given) > 1e-4).all()


@pytest.mark.parametrize("name", sorted(NOT_TO_THE_DISTRIBUTION))
def test_it_is_zero_where_the_student_says_what_was_seen(name: str) -> None:
    tokens_N = torch.arange(N) % V
    sure_NV = torch.full((N, V), -100.0, dtype=torch.float64).scatter_(1, tokens_N[:, None], 100.0)
    given = Target(tokens_N, ids_NK=tokens_N[:, None], counts_NK=torch.full((N, 1), 4))
    assert build(name)(sure_NV, given).abs().max() < 1e-12


@pytest.mark.parametrize(("name", "options"), [*((name, {}) for name in LOSSES.names()), *OPTIONS])
def test_its_closed_form_is_its_gradient(name: str, options: dict[str, float]) -> None:
    for seed in range(3):
        given = target(seed + 50)
        expected_N, expected_NV = by_autograd(build(name, **options), scores(seed), given)
        loss_N, gradient_NV = build(name, **options).value_and_gradient(scores(seed).log_softmax(-1), given)
        assert torch.allclose(loss_N, expected_N, rtol=1e-10, atol=1e-12)
        assert (gradient_NV - expected_NV).abs().max() < 1e-11


@every_loss
def test_its_closed_form_leaves_what_it_was_given_as_it_was(name: str) -> None:
    log_q_NV, given = scores(0).log_softmax(-1), target()
    before_NV, teacher_NV = log_q_NV.clone(), given.log_probs_NV
    assert teacher_NV is not None
    teacher_before_NV = teacher_NV.clone()
    build(name).value_and_gradient(log_q_NV, given)
    assert torch.equal(log_q_NV, before_NV)
    assert torch.equal(teacher_NV, teacher_before_NV)


@every_loss
def test_a_row_knows_nothing_of_the_others(name: str) -> None:
    whole, scores_NV = target(), scores(0)
    if name == "sampled":
        assert whole.log_probs_NV is not None
        whole = counted(whole.log_probs_NV)
    loss_N = build(name)(scores_NV, whole)
    for row in range(N):
        rows = slice(row, row + 1)
        assert torch.allclose(build(name)(scores_NV[rows], whole.at(rows)), loss_N[rows], atol=1e-13)


@every_loss
def test_a_number_added_to_all_scores_changes_nothing(name: str) -> None:
    loss_N, gradient_NV = by_autograd(build(name), scores(0), target())
    shifted_N, shifted_NV = by_autograd(build(name), scores(0) + 1000.0, target())
    assert torch.allclose(loss_N, shifted_N, atol=1e-10)
    assert torch.allclose(gradient_NV, shifted_NV, atol=1e-10)


@every_loss
def test_enormous_scores_give_finite_numbers(name: str) -> None:
    for spread in (1e3, 1e6, 1e20):
        scores_NV = scores(0, dtype=torch.float32, spread=spread)
        given = target(1, dtype=torch.float32, spread=spread)
        for loss_N, gradient_NV in (
            by_autograd(build(name), scores_NV, given),
            build(name).value_and_gradient(scores_NV.log_softmax(-1), given),
        ):
            assert torch.isfinite(loss_N).all()
            assert torch.isfinite(gradient_NV).all()
            assert (loss_N >= -1e-5).all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_scores_are_widened_before_they_are_compared(name: str, dtype: torch.dtype) -> None:
    low_NV = scores(0, dtype=torch.float32).to(dtype)
    given = target(1, dtype=torch.float32)
    loss_N = build(name)(low_NV, given)
    assert loss_N.dtype == torch.float32
    assert torch.equal(loss_N, build(name)(low_NV.float(), given))


@every_loss
def test_a_teacher_that_rules_tokens_out_gives_finite_numbers(name: str) -> None:
    teacher_NV = scores(1)
    teacher_NV[:, 2:5] = -math.inf
    given = Target(torch.zeros(N, dtype=torch.int64), teacher_NV.log_softmax(-1))
    expected_N, expected_NV = by_autograd(build(name), scores(0), given)
    loss_N, gradient_NV = build(name).value_and_gradient(scores(0).log_softmax(-1), given)
    assert torch.isfinite(expected_N).all()
    assert torch.isfinite(expected_NV).all()
    assert torch.allclose(loss_N, expected_N)
    assert torch.allclose(gradient_NV, expected_NV, atol=1e-11)


@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl", "symmetric_kl", "top_k"])
def test_at_a_high_temperature_it_is_half_the_squared_distance_of_centred_scores(name: str) -> None:
    """T^2 D -> mean over the vocabulary of (z - y)^2 / 2, z and y centred (Hinton et al. 2015, section 2.1)."""
    temperature = 1e4
    student_NV, teacher_NV = scores(0), scores(1)
    given = Target(torch.zeros(N, dtype=torch.int64), (teacher_NV / temperature).log_softmax(-1))
    loss_N = temperature**2 * build(name)(student_NV / temperature, given)
    difference_NV = student_NV - teacher_NV
    centred_NV = difference_NV - difference_NV.mean(dim=-1, keepdim=True)
    assert torch.allclose(loss_N, centred_NV.square().mean(dim=-1) / 2, rtol=1e-2)


@every_loss
def test_what_it_needs_and_does_not_get_is_said(name: str) -> None:
    if name != "cross_entropy":
        with pytest.raises(ValueError, match=type(build(name)).__name__):
            build(name)(scores(0), Target(target().tokens_N))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(("jensen_shannon", {"beta": 1.5}), ("skew_kl", {"alpha": 0.0}), ("skew_reverse_kl", {"alpha": 1.0})),
        *(("adaptive_kl", {"mass": -1}), ("taid", {"start": 0.5, "end": 0.4}), ("symmetric_kl", {"ratio": 2})),
        *(("top_k", {"k": 0}), ("sampled", {"samples": 0})),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(name: str, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=list(options)[-1]):
        build(name, **options)

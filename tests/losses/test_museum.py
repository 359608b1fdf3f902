"""Mistakes that other distillation code has made in its losses; one test each, named after where it was made.

What concerns shifting, counting tokens over a window, or rollouts stands in `tests/training`: losses neither shift nor divide.

Shapes: N rows, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from stillhouse.losses.base import Target
from stillhouse.losses.fused import Sums, weighted_sums
from stillhouse.losses.slices import tile_rows
from stillhouse.losses.sources import Dense, Sparse
from stillhouse.tensors import Head
from tests.losses.cases import N, V, build, by_autograd, scores, target

TOKENS_N = torch.arange(N) % V
ONES_N = torch.ones(N, dtype=torch.float64)
NONE_N = torch.zeros(N, dtype=torch.float64)


def through_identity(student_NV: Tensor, teacher_NV: Tensor, *, loss: str = "forward_kl", **options: Any) -> Sums:
    """The fused loss with a head that changes nothing, so that hidden states are scores; no cross-entropy."""
    rows = len(student_NV)
    keys: dict[str, Any] = {
        "ce_N": NONE_N[:rows],
        "kd_N": ONES_N[:rows],
        "temperature_N": ONES_N[:rows],
        "source": Dense(teacher_NV),
    }
    head = Head(torch.eye(student_NV.shape[-1], dtype=student_NV.dtype))
    return weighted_sums(student_NV, head, TOKENS_N[:rows], loss=build(loss), **{**keys, **options})


def test_trl_3043_mixture_weights_swapped_and_zero_at_the_ends() -> None:
    student_NV, given = scores(0), target()
    assert given.log_probs_NV is not None
    p_NV, q_NV = given.log_probs_NV.exp(), student_NV.softmax(-1)
    mixture_NV = 0.1 * p_NV + 0.9 * q_NV  # beta is the teacher's share
    expected_N = 0.1 * (p_NV * (p_NV / mixture_NV).log()).sum(-1) + 0.9 * (q_NV * (q_NV / mixture_NV).log()).sum(-1)
    assert torch.allclose(build("jensen_shannon", beta=0.1)(student_NV, given), expected_N)
    for beta in (0.0, 1.0):
        assert (build("jensen_shannon", beta=beta)(student_NV, given) > 0.1).all()


def test_trl_4105_tinybert_divided_by_the_vocabulary_too() -> None:
    """Tokens that nobody ever says are added to the vocabulary: the loss is the same."""
    never_NV = torch.full((N, 10 * V), -1e9, dtype=torch.float64)
    small = through_identity(scores(0), scores(1))
    large = through_identity(torch.cat([scores(0), never_NV], -1), torch.cat([scores(1), never_NV], -1))
    assert torch.allclose(small.total, large.total)


def test_trl_5731_the_fused_path_added_cross_entropy_and_a_temperature_of_its_own() -> None:
    sums = through_identity(scores(0), scores(0), loss="jensen_shannon")
    assert sums.total.abs() < 1e-12
    assert (sums.cross_entropy_N > 0.01).any()


def test_trl_gkd_liger_did_not_cut_into_chunks_at_all() -> None:
    seen = []

    class Watched(Dense):
        def target(self, rows: Any, tokens_M: Tensor, *others: Any) -> Target:
            seen.append(len(tokens_M))
            return super().target(rows, tokens_M, *others)

    through_identity(scores(0), scores(1), source=Watched(scores(1)), tile=2 * V * 8)
    assert seen == [2, 2, 1]
    rows, row_bytes = 4096, 152_000 * 4
    assert tile_rows(row_bytes, rows, None, torch.device("cpu")) <= rows / 8, "nor may it by default"


def test_liger_974_rows_to_be_ignored_were_trained_on() -> None:
    student_NV = scores(0).requires_grad_()
    kd_N = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    [gradient_NV] = torch.autograd.grad(through_identity(student_NV, scores(1), kd_N=kd_N).total, student_NV)
    assert (gradient_NV[::2] == 0).all()
    assert (gradient_NV[1::2] != 0).any()


def test_liger_fused_jsd_kept_a_loss_for_every_token_of_the_vocabulary() -> None:
    sums = through_identity(scores(0).requires_grad_(), scores(1), loss="jensen_shannon")
    assert sums.divergence_N.shape == (N,)
    gradients = sums.total.grad_fn.gradients  # type: ignore[union-attr]
    assert [None if one is None else tuple(one.shape) for one in gradients] == [(N, V), None, None]


def test_liger_padded_the_student_with_zeros_where_the_teachers_vocabulary_is_larger() -> None:
    teacher_NV = torch.cat([scores(1), scores(2)[:, :3]], dim=-1)
    assert torch.allclose(through_identity(scores(0), teacher_NV).total, through_identity(scores(0), scores(1)).total)
    assert torch.allclose(through_identity(teacher_NV, scores(0)).total, through_identity(scores(1), scores(0)).total)


def test_liger_differentiated_for_frozen_heads_and_without_a_graph() -> None:
    student_NV = scores(0).requires_grad_()
    gradients = through_identity(student_NV, scores(1)).total.grad_fn.gradients  # type: ignore[union-attr]
    assert gradients.weight_VH is None  # the head is frozen
    with torch.no_grad():
        sums = through_identity(student_NV, scores(1))
    assert not sums.total.requires_grad
    assert not through_identity(scores(0), scores(1)).total.requires_grad


def test_trl_5594_a_teacher_that_rules_tokens_out_gave_nan_gradients() -> None:
    teacher_NV = scores(1)
    teacher_NV[:, 1] = -math.inf
    for loss in ("forward_kl", "reverse_kl", "jensen_shannon", "skew_reverse_kl", "top_k"):
        student_NV = scores(0).requires_grad_()
        total = through_identity(student_NV, teacher_NV, loss=loss).total
        [gradient_NV] = torch.autograd.grad(total, student_NV)
        assert torch.isfinite(total)
        assert torch.isfinite(gradient_NV).all()


def test_trl_5594_ragged_rows_of_kept_tokens_gave_nan_gradients() -> None:
    ids_NK = torch.tensor([[2, 3, 2, 2], [1, 0, 4, 5]])
    log_probs_NK = torch.tensor([[0.6, 0.3, 0.0, 0.0], [0.4, 0.3, 0.1, 0.1]], dtype=torch.float64).log()
    student_NV = scores(0, rows=2).requires_grad_()
    sums = through_identity(student_NV, scores(1, rows=2), loss="top_k", source=Sparse(ids_NK, log_probs_NK, V))
    [gradient_NV] = torch.autograd.grad(sums.total, student_NV)
    assert torch.isfinite(gradient_NV).all()
    unpadded = Target(TOKENS_N[:1], ids_NK=ids_NK[:1, :2], log_probs_NK=log_probs_NK[:1, :2])
    assert torch.allclose(sums.divergence_N[:1], build("top_k")(scores(0, rows=2)[:1], unpadded))


@pytest.mark.parametrize("rows", [0, N])
def test_trl_5885_nothing_left_to_learn_from_gave_nan(rows: int) -> None:
    """No rows, or none with a weight: zero, with its graph, so that every process has gradients to average."""
    hidden_NH = torch.randn(rows, 3, dtype=torch.float64, requires_grad=True)
    weight_VH, bias_V = torch.randn(V, 3, dtype=torch.float64).requires_grad_(), torch.zeros(V, dtype=torch.float64)
    nothing_N = NONE_N[:rows]
    sums = weighted_sums(
        hidden_NH,
        Head(weight_VH, bias_V.requires_grad_()),
        TOKENS_N[:rows],
        ce_N=nothing_N,
        kd_N=nothing_N,
        temperature_N=nothing_N + 1,
        loss=build("forward_kl"),
        source=Dense(scores(1)[:rows]),
    )
    assert sums.total == 0
    leaves = (hidden_NH, weight_VH, bias_V)
    for gradient, leaf in zip(torch.autograd.grad(sums.total, leaves), leaves, strict=True):
        assert gradient.shape == leaf.shape
        assert (gradient == 0).all()


def test_taid_repository_took_the_head_in_sorted_order() -> None:
    """The likeliest token stands last: a mask that is not scattered back would call the first one the head."""
    teacher, student = (0.1, 0.2, 0.7), (0.15, 0.15, 0.7 - 1e-9)
    given = Target(torch.tensor([0]), torch.tensor([teacher], dtype=torch.float64).log())
    reverse = sum(q * math.log(q / p) for p, q in zip(teacher, student, strict=True))
    loss = build("adaptive_kl")(torch.tensor([student], dtype=torch.float64).log(), given)
    assert loss.item() == pytest.approx(reverse, rel=1e-6)  # no gap in the head: all weight is on the reverse


def test_taid_repository_let_gradients_through_the_weights() -> None:
    for name in ("adaptive_kl", "taid"):
        loss, student_NV = build(name), scores(0)
        _, gradient_NV = by_autograd(loss, student_NV, target())
        _, closed_NV = loss.value_and_gradient(student_NV.log_softmax(-1), target())
        assert torch.allclose(gradient_NV, closed_NV, atol=1e-12)
    log_p_NV, log_q_NV = scores(1).log_softmax(-1), scores(0).log_softmax(-1)
    between_NV = (0.6 * log_q_NV + 0.4 * log_p_NV).softmax(-1)
    assert torch.allclose(closed_NV, log_q_NV.exp() - between_NV)


def test_distillm_the_mixtures_logarithm_underflowed() -> None:
    apart = torch.tensor([[300.0, 0.0, 0.0]]), torch.tensor([[0.0, 300.0, 0.0]])
    given = Target(torch.tensor([0]), apart[1].log_softmax(-1))
    for name, expected in (("jensen_shannon", math.log(2)), ("skew_kl", math.log(10)), ("skew_reverse_kl", math.log(10))):
        loss_N, gradient_NV = by_autograd(build(name), apart[0], given)
        closed_N, closed_NV = build(name).value_and_gradient(apart[0].log_softmax(-1), given)
        assert torch.isfinite(gradient_NV).all()
        assert torch.allclose(closed_NV, gradient_NV, atol=1e-6)
        assert loss_N.item() == pytest.approx(expected, rel=1e-5)
        assert closed_N.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["forward_kl", "symmetric_kl", "top_k"])
def test_distillm_torchtune_left_the_teachers_entropy_out_of_what_they_called_kl(name: str) -> None:
    assert build(name)(scores(0), Target(TOKENS_N, scores(0).log_softmax(-1))).abs().max() < 1e-12


def test_torchtune_chunks_of_labels_and_scores_did_not_meet() -> None:
    """Five rows do not divide by two or three: each row still has its own token, weight and temperature."""
    keys: dict[str, Any] = {"ce_N": torch.linspace(0.1, 1, N).double(), "temperature_N": torch.linspace(1, 2, N).double()}
    whole = through_identity(scores(0), scores(1), **keys)
    for rows in (1, 2, 3, 4):
        cut = through_identity(scores(0), scores(1), tile=rows * V * 8, **keys)
        assert torch.allclose(cut.total, whole.total)
        assert torch.allclose(cut.divergence_N, whole.divergence_N)
        assert torch.allclose(cut.cross_entropy_N, whole.cross_entropy_N)


def test_verl_7856_kept_tokens_without_a_tail_went_below_zero() -> None:
    """The student puts more on the kept token than the teacher does; the rest is where it has less."""
    given = Target(torch.tensor([0]), ids_NK=torch.tensor([[0]]), log_probs_NK=torch.tensor([[math.log(0.3)]]))
    student_NV = torch.tensor([[0.6, 0.2, 0.2]]).log()
    loss = build("top_k")(student_NV, given).item()
    assert loss == pytest.approx(0.3 * math.log(0.3 / 0.6) + 0.7 * math.log(0.7 / 0.4), rel=1e-5)
    assert loss > 0 > 0.3 * math.log(0.3 / 0.6)


def test_nemo_3314_the_order_of_kept_tokens_mattered() -> None:
    ids_NK, log_probs_NK = torch.tensor([[4, 1, 2]]), torch.tensor([[0.5, 0.3, 0.1]], dtype=torch.float64).log()
    order = [1, 2, 0]
    one = Target(TOKENS_N[:1], ids_NK=ids_NK, log_probs_NK=log_probs_NK)
    other = Target(TOKENS_N[:1], ids_NK=ids_NK[:, order], log_probs_NK=log_probs_NK[:, order])
    student_NV = scores(0, rows=1)
    for first, second in zip(
        by_autograd(build("top_k"), student_NV, one), by_autograd(build("top_k"), student_NV, other), strict=True
    ):
        assert torch.allclose(first, second)

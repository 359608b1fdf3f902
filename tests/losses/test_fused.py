"""The fused loss is the plain one: same sums, same gradients, whatever the tile, the head, the weights and the precision.

Shapes: N rows, H the student's width, C the teacher's, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from stillhouse.losses import LOSSES
from stillhouse.losses.base import Rows, Target
from stillhouse.losses.fused import Sums, weighted_sums
from stillhouse.losses.sources import Dense, Projected, Source
from stillhouse.tensors import Head
from tests.losses.cases import build

N, H, C, V = 9, 6, 4, 11
ROW = V * 8
"""Bytes of a row's scores in float64."""
every_loss = pytest.mark.parametrize("name", sorted(set(LOSSES.names()) - {"sampled"}))  # which draws anew in every tile


@dataclass(frozen=True)
class Case:
    """A micro-batch: leaves that want gradients, and all else."""

    hidden_NH: Tensor
    weight_VH: Tensor
    bias_V: Tensor
    source: Source
    tokens_N: Tensor
    ce_N: Tensor
    kd_N: Tensor
    temperature_N: Tensor
    scale: float = 1.0
    soft_cap: float | None = None

    @property
    def head(self) -> Head:
        return Head(self.weight_VH, self.bias_V, self.scale, self.soft_cap)

    def leaves(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.hidden_NH, self.weight_VH, self.bias_V

    def fused(self, name: str, **options: Any) -> Sums:
        keys = {"ce_N": self.ce_N, "kd_N": self.kd_N, "temperature_N": self.temperature_N, "source": self.source, **options}
        return weighted_sums(self.hidden_NH, self.head, self.tokens_N, loss=build(name), **keys)

    def plain(self, name: str) -> Tensor:
        """The same total, written with autograd alone."""
        scores_NV = self.head.scores(self.hidden_NH)
        size = min(V, self.source.vocabulary)
        soft_N1 = self.temperature_N[:, None]
        target = self.source.target(slice(None), self.tokens_N, soft_N1, size)
        ce_N = torch.nn.functional.cross_entropy(scores_NV, self.tokens_N, reduction="none")
        return (build(name)(scores_NV[:, :size] / soft_N1, target) * self.kd_N).sum() + (ce_N * self.ce_N).sum()


def case(dtype: torch.dtype = torch.float64, *, teacher: int = V, temperature: float = 1.0, **head: Any) -> Case:
    """A third of the rows have no weight at all, one has only cross-entropy, one only a divergence."""
    dice = torch.Generator().manual_seed(5)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=dice, dtype=torch.float64).to(dtype)

    ce_N, kd_N = (torch.rand(N, generator=dice).double() + 0.1 for _ in range(2))
    ce_N[[0, 3, 6, 1]] = 0
    kd_N[[0, 3, 6, 2]] = 0
    return Case(
        numbers(N, H).requires_grad_(),
        numbers(V, H).requires_grad_(),
        numbers(V).requires_grad_(),
        Projected(numbers(N, C), Head(numbers(teacher, C))),
        torch.randint(min(V, teacher), (N,), generator=dice),
        ce_N,
        kd_N,
        torch.full((N,), temperature, dtype=torch.float64),
        **head,
    )


def same(one: tuple[Tensor, ...], other: tuple[Tensor, ...], tolerance: float = 1e-11) -> bool:
    return all(torch.allclose(a, b, atol=tolerance, rtol=tolerance) for a, b in zip(one, other, strict=True))


@every_loss
@pytest.mark.parametrize("tile", [1, 2 * ROW, 4 * ROW, None])
def test_the_sum_and_its_gradients_are_the_plain_ones_whatever_the_tile(name: str, tile: int | None) -> None:
    given = case(temperature=1.7)
    expected = given.plain(name)
    sums = given.fused(name, tile=tile)
    assert torch.allclose(sums.total, expected)
    assert same(torch.autograd.grad(sums.total, given.leaves()), torch.autograd.grad(expected, given.leaves()))


@pytest.mark.parametrize("teacher", [V - 3, V, V + 4])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("head", [{}, {"scale": 0.5}, {"soft_cap": 3.0}, {"scale": 2.0, "soft_cap": 5.0}])
def test_padded_vocabularies_temperatures_and_what_heads_do_to_scores(
    teacher: int, temperature: float, head: dict[str, Any]
) -> None:
    given = case(teacher=teacher, temperature=temperature, **head)
    for name in ("forward_kl", "jensen_shannon"):
        expected, sums = given.plain(name), given.fused(name, tile=3 * ROW)
        assert torch.allclose(sums.total, expected)
        assert same(torch.autograd.grad(sums.total, given.leaves()), torch.autograd.grad(expected, given.leaves()))


def test_each_row_has_its_own_temperature() -> None:
    given = replace(case(), temperature_N=torch.linspace(1, 4, N, dtype=torch.float64))
    expected, sums = given.plain("reverse_kl"), given.fused("reverse_kl", tile=2 * ROW)
    assert torch.allclose(sums.total, expected)
    assert same(torch.autograd.grad(sums.total, given.leaves()), torch.autograd.grad(expected, given.leaves()))


@every_loss
def test_rows_without_weight_get_exactly_no_gradient_and_are_never_looked_at(name: str) -> None:
    given = case()
    poisoned_NH = given.hidden_NH.detach().clone()
    poisoned_NH[[0, 3, 6]] = torch.nan
    given = replace(given, hidden_NH=poisoned_NH.requires_grad_())
    sums = given.fused(name, tile=2 * ROW)
    hidden_NH, weight_VH, _ = torch.autograd.grad(sums.total, given.leaves())
    assert (hidden_NH[[0, 3, 6]] == 0).all()
    assert torch.isfinite(weight_VH).all()
    assert (sums.divergence_N[[0, 3, 6]] == 0).all()
    assert (sums.cross_entropy_N[[0, 3, 6]] == 0).all()


def test_the_rows_values_are_reported_without_graph() -> None:
    given = case()
    sums = given.fused("forward_kl", tile=2 * ROW)
    assert not sums.divergence_N.requires_grad
    assert not sums.cross_entropy_N.requires_grad
    assert torch.allclose(sums.total, (sums.divergence_N * given.kd_N).sum() + (sums.cross_entropy_N * given.ce_N).sum())


def test_cross_entropy_alone_needs_no_teacher() -> None:
    given = case()
    sums = weighted_sums(given.hidden_NH, given.head, given.tokens_N, ce_N=given.ce_N, tile=2 * ROW)
    expected = torch.nn.functional.cross_entropy(given.head.scores(given.hidden_NH), given.tokens_N, reduction="none")
    assert torch.allclose(sums.total, (expected * given.ce_N).sum())
    expected_total = (expected * given.ce_N).sum()
    assert same(torch.autograd.grad(sums.total, given.leaves()), torch.autograd.grad(expected_total, given.leaves()))


def test_the_same_upstream_gradient_as_any_other_scalar() -> None:
    given = case()
    [expected_NH] = torch.autograd.grad(-0.3 * given.plain("forward_kl"), given.hidden_NH)
    [gradient_NH] = torch.autograd.grad(-0.3 * given.fused("forward_kl").total, given.hidden_NH)
    assert torch.allclose(gradient_NH, expected_NH)


def test_a_weight_that_is_made_of_others_gets_its_gradient_too() -> None:
    """Tied, adapted or factorised: the head's weight is no leaf, or stands in the network a second time."""
    given = case()
    low_VR, low_RH = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((V, 2), (2, H)))

    def gradients(fused: bool) -> tuple[Tensor, ...]:
        tied = replace(given, weight_VH=given.weight_VH + low_VR @ low_RH, hidden_NH=given.hidden_NH + given.weight_VH[:N])
        total = tied.fused("forward_kl", tile=2 * ROW).total if fused else tied.plain("forward_kl")
        return torch.autograd.grad(total, (given.weight_VH, low_VR, low_RH, given.hidden_NH))

    assert same(gradients(fused=True), gradients(fused=False))


def test_two_and_four_micro_batches_give_the_gradient_of_one() -> None:
    given = case()
    whole = torch.autograd.grad(given.fused("jensen_shannon").total, given.leaves()[1:])
    for parts in (2, 4):
        for leaf in given.leaves():
            leaf.grad = None
        for rows in torch.arange(N).chunk(parts):
            assert isinstance(given.source, Projected)
            part = replace(
                given,
                hidden_NH=given.hidden_NH[rows],
                source=Projected(given.source.hidden_NH[rows], given.source.head),
                **{name: getattr(given, name)[rows] for name in ("tokens_N", "ce_N", "kd_N", "temperature_N")},
            )
            part.fused("jensen_shannon").total.backward()  # type: ignore[no-untyped-call]
        added = given.weight_VH.grad, given.bias_V.grad
        assert all(one is not None and torch.allclose(one, other, rtol=1e-9) for one, other in zip(added, whole, strict=True))


class Counting:
    """A source that knows which rows it was asked for."""

    def __init__(self, scores_NV: Tensor) -> None:
        self._dense = Dense(scores_NV)
        self.asked: list[int] = []

    @property
    def vocabulary(self) -> int:
        return self._dense.vocabulary

    def target(self, rows: Rows, tokens_M: Tensor, temperature_M1: Tensor, size: int) -> Target:
        self.asked += torch.arange(N)[rows].tolist()
        return self._dense.target(rows, tokens_M, temperature_M1, size)


def test_the_teacher_is_asked_once_for_each_row_that_counts_and_never_for_the_others() -> None:
    source = Counting(torch.randn(N, V, dtype=torch.float64))
    replace(case(), source=source).fused("forward_kl", tile=2 * ROW).total.backward()  # type: ignore[no-untyped-call]
    assert source.asked == [1, 2, 4, 5, 7, 8]


def test_autograd_takes_the_weights_gradient_as_it_is_and_makes_no_copy() -> None:
    given = case()
    total = given.fused("forward_kl").total
    made = total.grad_fn.gradients.weight_VH.data_ptr()  # type: ignore[union-attr]
    total.backward()  # type: ignore[no-untyped-call]
    assert given.weight_VH.grad is not None
    assert given.weight_VH.grad.data_ptr() == made


def test_a_second_backward_pass_says_what_to_do() -> None:
    given = case()
    total = given.fused("forward_kl").total
    total.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError, match="call weighted_sums again"):
        total.backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_states_are_compared_in_float32(dtype: torch.dtype) -> None:
    exact, given = case(torch.float32), case(dtype)
    expected, sums = exact.fused("forward_kl"), given.fused("forward_kl", tile=2 * ROW)
    assert sums.divergence_N.dtype == torch.float32
    assert torch.allclose(sums.divergence_N, expected.divergence_N, rtol=0.1, atol=0.05)
    gradients = torch.autograd.grad(sums.total, given.leaves())
    for one, other in zip(gradients, torch.autograd.grad(expected.total, exact.leaves()), strict=True):
        assert one.dtype == dtype
        assert torch.nn.functional.cosine_similarity(one.float().flatten(), other.flatten(), dim=0) > 0.999


def test_autocast_multiplies_in_half_precision_and_sums_in_float32() -> None:
    given = case(torch.float32)
    exact = torch.autograd.grad(given.fused("jensen_shannon").total, given.leaves())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sums = given.fused("jensen_shannon", tile=2 * ROW)
    assert sums.total.dtype == torch.float64  # the weights' own
    assert sums.divergence_N.dtype == torch.float32
    for one, other in zip(torch.autograd.grad(sums.total, given.leaves()), exact, strict=True):
        assert one.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.999


@pytest.mark.parametrize("tile", [1, 2 * ROW, None])
def test_which_rows_are_right_is_told_beside_the_sums(tile: int | None) -> None:
    given = case()
    given.tokens_N[1] = given.head.scores(given.hidden_NH)[1].argmax()
    given.tokens_N[2] = given.head.scores(given.hidden_NH)[2].argmin()
    right_N = (given.head.scores(given.hidden_NH).argmax(dim=-1) == given.tokens_N).double()
    right_N[[0, 3, 6]] = 0  # rows without any weight are left out
    sums = given.fused("forward_kl", tile=tile)
    assert torch.equal(sums.correct_N, right_N) and right_N[1] == 1 and not sums.correct_N.requires_grad

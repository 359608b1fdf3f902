"""Relational knowledge distillation, against the formulas in loops over pairs and triplets."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from stillhouse.tensors import States
from tests.features.sides import built, states

LAYERS = (2, 2)
COUNT = 4


def pooled(side: States) -> Tensor:
    assert side.pooled_BH is not None
    return side.pooled_BH


def test_distances_are_compared_by_their_mean() -> None:
    student, teacher = states(0, scale=3.0), states(1, width=10)
    pairs = list(permutations(range(COUNT), 2))
    found = []
    for side in (student, teacher):
        raw = {(i, j): (pooled(side)[i] - pooled(side)[j]).norm() for i, j in pairs}
        mean = torch.stack(list(raw.values())).mean()
        found.append({pair: distance / mean for pair, distance in raw.items()})
    loss_B = built("rkd_distance")(student, teacher, LAYERS)
    for i in range(COUNT):
        terms = [smooth_l1_loss(found[0][i, j], found[1][i, j]) for j in range(COUNT) if j != i]
        torch.testing.assert_close(loss_B[i], torch.stack(terms).mean())


def test_angles_at_each_text_between_every_two_others() -> None:
    student, teacher = states(0), states(1, width=10)

    def cosine(side: States, j: int, i: int, k: int) -> Tensor:
        one, other = pooled(side)[i] - pooled(side)[j], pooled(side)[k] - pooled(side)[j]
        found: Tensor = one @ other / (one.norm() * other.norm())
        return found

    loss_B = built("rkd_angle")(student, teacher, LAYERS)
    for j in range(COUNT):
        terms = [smooth_l1_loss(cosine(student, *at), cosine(teacher, *at)) for at in permutations(range(COUNT), 3) if at[0] == j]
        torch.testing.assert_close(loss_B[j], torch.stack(terms).mean())


def test_what_is_turned_moved_and_scaled_agrees() -> None:
    student = states(0)
    turn_HH = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q
    turned = replace(student, pooled_BH=pooled(student) @ turn_HH * 3 + 1)
    for name in ("rkd_distance", "rkd_angle"):
        assert built(name)(student, turned, LAYERS).max() < 1e-20


def test_the_same_text_twice_has_a_finite_gradient() -> None:
    """The square root of a distance of 0 has none, and would make it NaN."""
    twice_BH = torch.stack([pooled(states(0))[0]] * 2 + [pooled(states(0))[1]]).requires_grad_()
    for name in ("rkd_distance", "rkd_angle"):
        student = replace(states(0), pooled_BH=twice_BH)
        teacher = replace(states(1), pooled_BH=pooled(states(1))[:3])
        [gradient] = torch.autograd.grad(built(name)(student, teacher, LAYERS).sum(), [twice_BH])
        assert gradient.isfinite().all() and gradient.abs().max() < 100


def test_an_angle_needs_two_others() -> None:
    """Between a text and itself there is none: where the student says two are one, that pair alone must not be counted twice."""
    twice_BH = pooled(states(0))[[0, 0, 1]]
    student, teacher = replace(states(0), pooled_BH=twice_BH), replace(states(1), pooled_BH=pooled(states(1))[:3])
    to_1, to_2 = pooled(teacher)[1] - pooled(teacher)[0], pooled(teacher)[2] - pooled(teacher)[0]
    cosine = to_1 @ to_2 / (to_1.norm() * to_2.norm())
    loss_B = built("rkd_angle")(student, teacher, LAYERS)
    torch.testing.assert_close(loss_B[0], smooth_l1_loss(torch.zeros_like(cosine), cosine))

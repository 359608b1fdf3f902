"""Probabilistic knowledge transfer, against the formula in a loop."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn.functional import cosine_similarity

from stillhouse.tensors import States
from tests.features.sides import built, states


def neighbours(side: States, i: int) -> torch.Tensor:
    assert side.pooled_BH is not None
    kernel = torch.stack([(1 + cosine_similarity(side.pooled_BH[i], side.pooled_BH[j], dim=0)) / 2 for j in range(4) if j != i])
    return kernel / kernel.sum()


def test_it_is_the_kl_between_neighbourhoods() -> None:
    student, teacher = states(0), states(1, width=10)
    loss_B = built("pkt")(student, teacher, (2, 2))
    for i in range(4):
        p, q = neighbours(teacher, i), neighbours(student, i)
        torch.testing.assert_close(loss_B[i], (p * (p / q).log()).sum(), atol=1e-6, rtol=1e-6)


def test_opposite_texts_keep_a_logarithm() -> None:
    teacher = states(1)
    opposite_BH = torch.tensor([[1.0], [-1.0], [-1.0], [1.0]], dtype=torch.float64).requires_grad_()
    loss_B = built("pkt")(replace(teacher, pooled_BH=opposite_BH), teacher, (2, 2))
    [gradient] = torch.autograd.grad(loss_B.sum(), [opposite_BH])
    assert loss_B.isfinite().all() and gradient.isfinite().all()

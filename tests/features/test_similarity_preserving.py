"""Similarity-preserving distillation, against the paper's Frobenius norm."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from stillhouse.tensors import States
from tests.features.sides import built, states


def rows(side: States) -> torch.Tensor:
    assert side.pooled_BH is not None
    return normalize(side.pooled_BH @ side.pooled_BH.T, dim=-1)


def test_the_mean_is_the_papers_times_the_batch() -> None:
    student, teacher = states(0), states(1, width=10)
    paper = (rows(student) - rows(teacher)).norm() ** 2 / 4**2
    torch.testing.assert_close(built("similarity_preserving")(student, teacher, (2, 2)).mean(), paper * 4)

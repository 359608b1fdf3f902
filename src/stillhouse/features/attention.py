"""Attention scores before the softmax (TinyBERT: Jiao et al. 2020, eq. 7)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stillhouse.features.base import FeatureLoss, relative, widened
from stillhouse.tensors import States, Wanted


class Attention(FeatureLoss):
    """sum (a - b)^2 / sum b^2 over heads and over the pairs of tokens that see each other; b the teacher's scores.

    Pairs that are masked count nowhere (their scores are -inf). Where the networks have different numbers of heads, neighbouring
    heads are averaged to the largest number that divides both: 12 heads and 4 are compared as 4, 12 and 5 as one.
    """

    wanted = Wanted(attention=True)

    def forward(self, student: States, teacher: States, layers: tuple[int, int]) -> Tensor:
        student_BATT, teacher_BATT = student.scores[layers[0] - 1], teacher.scores[layers[1] - 1]
        groups = math.gcd(student_BATT.shape[1], teacher_BATT.shape[1])
        real_BT = student.mask_BT
        seen_B1TT = (real_BT[:, None, :, None] & real_BT[:, None, None, :]) & _finite(student_BATT) & _finite(teacher_BATT)
        student_BATT = _averaged(student_BATT, seen_B1TT, groups)
        teacher_BATT = _averaged(teacher_BATT, seen_B1TT, groups).detach()
        pairs_B = (seen_B1TT.sum(dim=(1, 2, 3)) * groups).clamp(min=1)
        error_B = (student_BATT - teacher_BATT).square().sum(dim=(1, 2, 3)) / pairs_B
        return relative(error_B, teacher_BATT.square().sum(dim=(1, 2, 3)) / pairs_B)


def _finite(scores_BATT: Tensor) -> Tensor:
    return scores_BATT.isfinite().all(dim=1, keepdim=True)


def _averaged(scores_BATT: Tensor, seen_B1TT: Tensor, groups: int) -> Tensor:
    """Over neighbouring heads, and 0 where no pair is: set before anything is subtracted, because inf - inf is not a number."""
    scores_BATT = torch.where(seen_B1TT, widened(scores_BATT), 0)
    rows, heads, *positions = scores_BATT.shape
    return scores_BATT.reshape(rows, groups, heads // groups, *positions).mean(dim=2)

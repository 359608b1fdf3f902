"""Distances and angles between the texts of a batch (relational knowledge distillation: Park et al. 2019, eq. 4-9)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from stillhouse.features.base import FeatureLoss, others, pooled, relative, unit
from stillhouse.tensors import States, Wanted


class _Relational(FeatureLoss):
    """Any two widths can be compared, because each network's texts are compared among themselves."""

    wanted = Wanted(pooled=True)
    compares = "pooled"
    aligned = False
    within_batch = True


class Distance(_Relational):
    """The Huber loss of distances between pooled states, each network's divided by their mean.

    For each text the mean over the others; 0 for one that is alone in its batch.
    """

    def forward(self, student: States, teacher: States, layers: tuple[int, int]) -> Tensor:
        error_BB = smooth_l1_loss(_distances(pooled(student)), _distances(pooled(teacher)).detach(), reduction="none")
        return error_BB.sum(dim=1) / max(len(error_BB) - 1, 1)  # the diagonal is 0 on both sides


class Angle(_Relational):
    """The Huber loss of the cosines of the angles at each text between every two others; the mean over these pairs.

    0 with fewer than three texts. Takes B^3 numbers.
    """

    def forward(self, student: States, teacher: States, layers: tuple[int, int]) -> Tensor:
        error_BBB = smooth_l1_loss(_angles(pooled(student)), _angles(pooled(teacher)).detach(), reduction="none")
        count = len(error_BBB)
        error_BBB = torch.where(others(count, error_BBB.device), error_BBB, 0)  # an angle needs two others
        return error_BBB.sum(dim=(1, 2)) / max((count - 1) * (count - 2), 1)


def _distances(pooled_BH: Tensor) -> Tensor:
    """Of every two, by differences: the shorter way by products is wrong for neighbours. Where all are one, 0."""
    distances_BB = torch.cdist(pooled_BH, pooled_BH, compute_mode="donot_use_mm_for_euclid_dist")
    count = len(pooled_BH)
    return relative(distances_BB, distances_BB.sum() / max(count * (count - 1), 1))


def _angles(pooled_BH: Tensor) -> Tensor:
    """cos_BBB[j, i, k]: at j, between i and k; 0 where one of them lies at j."""
    directions_BBH = unit(pooled_BH[None, :] - pooled_BH[:, None])
    return directions_BBH @ directions_BBH.transpose(1, 2)

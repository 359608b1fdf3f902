"""Which texts of a batch are neighbours, as probabilities (probabilistic knowledge transfer: Passalis & Tefas 2018, eq. 3-8)."""

from __future__ import annotations

import torch
from torch import Tensor

from stillhouse.features.base import FeatureLoss, others, pooled, unit
from stillhouse.tensors import States, Wanted

LEAST = 1e-7
"""Added to each kernel, so that opposite texts keep a logarithm."""


class PKT(FeatureLoss):
    """KL(p, q) in nats of each text's distribution over the others, p_j = k_j / sum k, with the kernel k = (1 + cos) / 2.

    No bandwidth has to be chosen. 0 for a text that is alone, or that has one other only.
    """

    wanted = Wanted(pooled=True)
    compares = "pooled"
    aligned = False
    within_batch = True

    def forward(self, student: States, teacher: States, layers: tuple[int, int]) -> Tensor:
        q_BB, p_BB = _neighbours(pooled(student)), _neighbours(pooled(teacher)).detach()
        some_BB = others(len(p_BB), p_BB.device)
        ratio_BB = torch.where(some_BB, p_BB, 1).log() - torch.where(some_BB, q_BB, 1).log()
        return (p_BB * ratio_BB).sum(dim=-1)


def _neighbours(pooled_BH: Tensor) -> Tensor:
    """p_BB: rows sum to 1 without the diagonal, which is 0."""
    direction_BH = unit(pooled_BH)
    kernel_BB = ((direction_BH @ direction_BH.T).clamp(-1, 1) + 1) / 2 + LEAST
    kernel_BB = torch.where(others(len(pooled_BH), pooled_BH.device), kernel_BB, 0)
    return kernel_BB / kernel_BB.sum(dim=-1, keepdim=True).clamp(min=LEAST)

"""Which texts of a batch are alike (similarity-preserving knowledge distillation: Tung & Mori 2019, eq. 2-4)."""

from __future__ import annotations

from torch import Tensor

from stillhouse.features.base import FeatureLoss, pooled, unit
from stillhouse.tensors import States, Wanted


class SimilarityPreserving(FeatureLoss):
    """|g - f|^2 of each text's row g of A A^T and the teacher's f, both rows of length 1; A the pooled states of the batch.

    The paper divides by B^2, so that it vanishes in a large batch; the mean of these rows is B times that, and free of units.
    0 for a text that is alone in its batch.
    """

    wanted = Wanted(pooled=True)
    compares = "pooled"
    aligned = False
    within_batch = True

    def forward(self, student: States, teacher: States, layers: tuple[int, int]) -> Tensor:
        return (_rows(pooled(student)) - _rows(pooled(teacher)).detach()).square().sum(dim=-1)


def _rows(pooled_BH: Tensor) -> Tensor:
    return unit(pooled_BH @ pooled_BH.T)

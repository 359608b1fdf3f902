"""One state for each text: what sentence encoders serve."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stillhouse.features.base import FeatureLoss, one_of, pooled, projection, relative, unlike
from stillhouse.tensors import States, Wanted


class Pooled(FeatureLoss):
    """Of states h W and t: `cosine` 1 - cos(h W, t), or `mse` |h W - t|^2 / |t|^2. W is learned where the widths differ.

    A state of zeros has no direction and counts 0 under cosine.
    """

    wanted = Wanted(pooled=True)
    compares = "pooled"
    aligned = False

    def __init__(self, metric: str = "cosine") -> None:
        super().__init__()
        self.metric = one_of("metric", metric, ("cosine", "mse"))
        self.projection: nn.Module = nn.Identity()

    def prepare(self, student_width: int, teacher_width: int, generator: torch.Generator) -> None:
        self.projection = projection(student_width, teacher_width, generator)

    def forward(self, student: States, teacher: States, layers: tuple[int, int]) -> Tensor:
        student_BC, teacher_BC = self.projection(pooled(student)), pooled(teacher).detach()
        if self.metric == "mse":
            return relative((student_BC - teacher_BC).square().sum(dim=-1), teacher_BC.square().sum(dim=-1))
        return unlike(student_BC, teacher_BC)

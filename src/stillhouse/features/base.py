"""What a comparison of inner states is: of one student layer and one teacher layer, one number an example, no sum, no division.

Shapes: B examples, T positions, H a width (S the student's, C the teacher's), A attention heads, D head width.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from stillhouse.tensors import States, Wanted


class FeatureLoss(nn.Module):
    """Built once a pair of layers, with its own options as keywords; its parameters (projections) are trained and left behind."""

    wanted: Wanted
    """The states it compares, of both networks."""
    within_batch: bool = False
    """True where it compares examples with each other, so that the micro-batch is part of what it means (RKD and its like)."""

    @abstractmethod
    def prepare(self, student_width: int, teacher_width: int, generator: torch.Generator) -> None:
        """Make the projections, where there are any, from `generator`."""

    @abstractmethod
    def forward(self, student: States, teacher: States, layers: tuple[int, int]) -> Tensor:
        """loss_B >= 0, the mean over each example's real tokens (or pairs); 0 where both agree. The teacher has no graph."""

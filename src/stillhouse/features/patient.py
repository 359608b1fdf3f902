"""One token's state in every mapped layer, by direction (patient knowledge distillation: Sun et al. 2019, eq. 7)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stillhouse.features.base import FeatureLoss, one_of, projection, unit, widened
from stillhouse.tensors import States, Wanted


class Patient(FeatureLoss):
    """|h W / |h W| - t / |t||^2 of one token's states: `first` ([CLS] of an encoder), or `last` (which in a decoder sees all).

    W is learned where the widths differ (the paper's are equal). Between 0 and 4, so free of units as it is.
    """

    wanted = Wanted(hidden=True)
    aligned = False

    def __init__(self, token: str = "first") -> None:
        super().__init__()
        self.token = one_of("token", token, ("first", "last"))
        self.projection: nn.Module = nn.Identity()

    def prepare(self, student_width: int, teacher_width: int, generator: torch.Generator) -> None:
        self.projection = projection(student_width, teacher_width, generator)

    def forward(self, student: States, teacher: States, layers: tuple[int, int]) -> Tensor:
        student_BC = unit(self.projection(self._one(student, layers[0])))
        teacher_BC = unit(self._one(teacher, layers[1])).detach()
        return (student_BC - teacher_BC).square().sum(dim=-1)

    def _one(self, states: States, layer: int) -> Tensor:
        hidden_BTH, mask_BT = widened(states.hidden[layer]), states.mask_BT
        if self.token == "first":
            return torch.where(mask_BT[:, :1], hidden_BTH[:, 0], 0)
        last_B = mask_BT.sum(dim=1) - 1
        return hidden_BTH[torch.arange(len(last_B), device=last_B.device), last_B]

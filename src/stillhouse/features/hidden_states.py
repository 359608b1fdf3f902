"""Hidden states, token by token.

DistilBERT's cosine (Sanh et al. 2019, section 2), TinyBERT's squared error (Jiao et al. 2020, eq. 8 and 9).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stillhouse.features.base import FeatureLoss, one_of, projection, real_mean, real_states, relative, standardised, unlike
from stillhouse.tensors import States, Wanted


class HiddenStates(FeatureLoss):
    """Of states h W and t: the mean over real tokens of `mse` |h W - t|^2 / |t|^2, or of `cosine` 1 - cos(h W, t).

    W is learned where the widths differ. `normalise` (for mse) sets each state to mean 0 and variance 1 on both sides, so that a
    few large dimensions, as every pretrained network has them, do not drown the others. A state of zeros has no direction: it
    counts 0 under cosine and normalise.
    """

    wanted = Wanted(hidden=True)
    first_layer = 0

    def __init__(self, metric: str = "mse", *, normalise: bool = True) -> None:
        super().__init__()
        self.metric = one_of("metric", metric, ("mse", "cosine"))
        self.normalise = normalise
        self.projection: nn.Module = nn.Identity()

    def prepare(self, student_width: int, teacher_width: int, generator: torch.Generator) -> None:
        self.projection = projection(student_width, teacher_width, generator)

    def forward(self, student: States, teacher: States, layers: tuple[int, int]) -> Tensor:
        mask_BT = student.mask_BT
        student_BTC = self.projection(real_states(student.hidden[layers[0]], mask_BT))
        teacher_BTC = real_states(teacher.hidden[layers[1]], mask_BT).detach()
        if self.metric == "cosine":
            return real_mean(unlike(student_BTC, teacher_BTC), mask_BT)
        if self.normalise:
            student_BTC, teacher_BTC = standardised(student_BTC), standardised(teacher_BTC)
        error_B = real_mean((student_BTC - teacher_BTC).square().mean(dim=-1), mask_BT)
        return relative(error_B, real_mean(teacher_BTC.square().mean(dim=-1), mask_BT))


class Embeddings(HiddenStates):
    """The same, of what enters the first layer (Jiao et al. 2020, eq. 9)."""

    compares = "embeddings"

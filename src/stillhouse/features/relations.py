"""How tokens relate to each other within queries, keys and values (MiniLM v2: Wang et al. 2021, eq. 4-6)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from stillhouse.errors import RecipeError
from stillhouse.features.base import FeatureLoss, one_of, real_mean, widened
from stillhouse.tensors import States, Wanted

PARTS = ("queries", "keys", "values")


class Relations(FeatureLoss):
    """KL(teacher, student) of softmax(A A^T / sqrt d), in nats: the mean over `parts`, relation heads and real tokens.

    A is cut anew into `heads` relation heads of width d, whatever the networks' own heads are, so any two widths can be compared
    and nothing is learned beside. `heads` must divide both; None takes the largest number up to 12 that does. Only projections
    are read: attention stays as fast as it is. The paper compares one layer: the last of a base-size teacher, an upper middle
    one of a large teacher.
    """

    def __init__(self, heads: int | None = None, parts: Sequence[str] = PARTS) -> None:
        super().__init__()
        if heads is not None and heads < 1:
            raise RecipeError(f"[[method.features]] options: heads = {heads}; it is at least 1.")
        if not parts:
            raise RecipeError(f"[[method.features]] options: parts = []; name at least one of {', '.join(PARTS)}.")
        self.heads = heads
        self.parts = tuple(dict.fromkeys(one_of("parts", part, PARTS) for part in parts))
        self.wanted = Wanted(relations=frozenset(self.parts))

    def forward(self, student: States, teacher: States, layers: tuple[int, int]) -> Tensor:
        losses_B = []
        for part in self.parts:
            student_BTX = _side_by_side(getattr(student, part)[layers[0] - 1], student.mask_BT)
            teacher_BTX = _side_by_side(getattr(teacher, part)[layers[1] - 1], student.mask_BT).detach()
            heads = self._heads(part, student_BTX.shape[-1], teacher_BTX.shape[-1])
            log_q_BRTT = _log_relations(student_BTX, student.mask_BT, heads)
            log_p_BRTT = _log_relations(teacher_BTX, student.mask_BT, heads)
            kl_BRT = (log_p_BRTT.exp() * (log_p_BRTT - log_q_BRTT)).sum(dim=-1)  # over tokens, never their mean
            losses_B.append(real_mean(kl_BRT.mean(dim=1), student.mask_BT))
        return torch.stack(losses_B).mean(dim=0)

    def _heads(self, part: str, student_width: int, teacher_width: int) -> int:
        common = math.gcd(student_width, teacher_width)
        if self.heads is None:
            return max(heads for heads in range(1, 13) if common % heads == 0)
        if common % self.heads:
            raise RecipeError(
                f"[[method.features]] options: heads = {self.heads} does not divide the widths of {part}, {student_width} of the "
                f"student and {teacher_width} of the teacher. Take a divisor of {common}, or leave it out."
            )
        return self.heads


def _side_by_side(part_BATD: Tensor, mask_BT: Tensor) -> Tensor:
    """All heads of a token in one row, 0 at padding."""
    return torch.where(mask_BT[..., None], widened(part_BATD).transpose(1, 2).flatten(2), 0)


def _log_relations(part_BTX: Tensor, mask_BT: Tensor, heads: int) -> Tensor:
    """log softmax over real tokens; at the others a large negative number, whose exp is 0 and which no subtraction makes NaN."""
    rows, positions, width = part_BTX.shape
    part_BRTD = part_BTX.view(rows, positions, heads, width // heads).transpose(1, 2)
    scores_BRTT = part_BRTD @ part_BRTD.transpose(2, 3) / (width // heads) ** 0.5
    log_probs_BRTT: Tensor = scores_BRTT.masked_fill(~mask_BT[:, None, None, :], -1e30).log_softmax(dim=-1)
    return log_probs_BRTT

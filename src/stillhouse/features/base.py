"""What a comparison of inner states is, and the measures that several of them share.

It compares one student layer with one teacher layer and gives one number an example: it knows neither weights, nor which layers
belong together, nor what the sums are divided by (`training/features.py`, `training/objective.py`). Every one is free of units,
so that a weight means the same for a network of any width: where it is not so by itself, an error is divided by the teacher's
own mean square. Padding is set to zero before anything else is done, so its gradient is exactly zero, whatever stands there.

Shapes: B examples, T positions, H a width (S the student's, C the teacher's), A attention heads, D head width.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stillhouse.errors import RecipeError
from stillhouse.tensors import States, Wanted


class FeatureLoss(nn.Module):
    """Built once a pair of layers, with its own options as keywords; its parameters (projections) are trained and left behind.

    Raises TypeError for an option it does not have, RecipeError for a value that it does not allow.
    """

    wanted: Wanted
    """The states it compares, of both networks."""
    compares: Literal["layers", "embeddings", "pooled"] = "layers"
    """layers: one of each network's, as the recipe maps them. embeddings, pooled: there is one of these, so no map is needed."""
    first_layer: int = 1
    """0 where the embeddings may stand for a layer."""
    aligned: bool = True
    """True where it compares token with token, so that both networks must read the same tokens."""
    within_batch: bool = False
    """True where it compares examples with each other, so that the micro-batch is part of what it means (RKD and its like)."""

    def prepare(self, student_width: int, teacher_width: int, generator: torch.Generator) -> None:
        """Make the projections, where there are any, from `generator`."""

    @abstractmethod
    def forward(self, student: States, teacher: States, layers: tuple[int, int]) -> Tensor:
        """loss_B >= 0, the mean over each example's real tokens (or pairs); 0 where both agree.

        `layers`: the student's and the teacher's, counted from 1, 0 being the embeddings. The teacher gets no gradient.
        """


def projection(student_width: int, teacher_width: int, generator: torch.Generator) -> nn.Module:
    """A learned map from the student's width to the teacher's; nothing at all where they are equal.

    Rows or columns are orthonormal at first, so lengths and angles survive it as far as the narrower width allows.
    """
    if student_width == teacher_width:
        return nn.Identity()
    layer = nn.Linear(student_width, teacher_width, bias=False, device="meta").to_empty(device="cpu")  # draws no number itself
    nn.init.orthogonal_(layer.weight, generator=generator)
    return layer


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> Any:
    """`value`. Raises RecipeError where it is not allowed."""
    if value not in allowed:
        raise RecipeError(f"[[method.features]] options: {name} = {value!r}; it is one of {', '.join(map(repr, allowed))}.")
    return value


# -- measures --------------------------------------------------------------------------------------------------------------


def widened(values: Tensor) -> Tensor:
    """In float32 at least: sums of squares and softmaxes of half precision are too coarse."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def real_states(hidden_BTH: Tensor, mask_BT: Tensor) -> Tensor:
    """Zero at padding, whatever stood there."""
    return torch.where(mask_BT[..., None], widened(hidden_BTH), 0)


def unit(values_XH: Tensor, floor_X1: Tensor | float = 0.0) -> Tensor:
    """Each vector divided by its length. One whose squared length is at most `floor` has no direction: it gives 0, gradient 0."""
    square_X1 = values_XH.square().sum(dim=-1, keepdim=True)
    some_X1 = square_X1 > torch.as_tensor(floor_X1, device=values_XH.device).clamp(min=torch.finfo(values_XH.dtype).tiny)
    return torch.where(some_X1, values_XH * torch.where(some_X1, square_X1, 1).rsqrt(), 0)


def unlike(student_XH: Tensor, teacher_XH: Tensor) -> Tensor:
    """1 - cos, as half the squared distance of the unit vectors: exactly 0 where they are equal, and never below.

    0 where one of them is zero: it has no direction, and nothing to learn from.
    """
    student_XH, teacher_XH = unit(student_XH), unit(teacher_XH)
    both_X = (student_XH.detach() != 0).any(dim=-1) & (teacher_XH != 0).any(dim=-1)
    return torch.where(both_X, (student_XH - teacher_XH).square().sum(dim=-1) / 2, 0)


def standardised(values_XH: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the last dimension (layer norm without weights); a constant vector gives 0."""
    rounding = 8 * torch.finfo(values_XH.dtype).eps  # of the mean: what is left of a constant vector is no direction
    floor_X1 = values_XH.detach().square().sum(dim=-1, keepdim=True) * rounding**2
    centred_XH: Tensor = values_XH - values_XH.mean(dim=-1, keepdim=True)
    return unit(centred_XH, floor_X1) * float(values_XH.shape[-1] ** 0.5)


def real_mean(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean over each example's real tokens, B; 0 for one without."""
    return torch.where(mask_BT, values_BT, 0).sum(dim=1) / mask_BT.sum(dim=1).clamp(min=1)


def relative(error: Tensor, size: Tensor) -> Tensor:
    """error / size, and the plain error where the teacher's size is 0."""
    return error / torch.where(size > torch.finfo(size.dtype).tiny, size, 1)


def others(count: int, device: torch.device) -> Tensor:
    """BxB: True but on the diagonal, where an example meets itself."""
    return ~torch.eye(count, dtype=torch.bool, device=device)


def pooled(states: States) -> Tensor:
    """pooled_BH. Raises ValueError where it was not asked for."""
    if states.pooled_BH is None:
        raise ValueError("These states hold no pooled ones: ask for Wanted(pooled=True).")
    return widened(states.pooled_BH)

"""Inner states for the tests: random ones of two networks over the same tokens, every kind of state among them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stillhouse.features import FEATURES
from stillhouse.features.base import FeatureLoss
from stillhouse.tensors import States

torch.set_num_threads(1)

LENGTHS = (5, 3, 4, 1)


def mask(width: int = 6, lengths: tuple[int, ...] = LENGTHS) -> Tensor:
    return torch.arange(width) < torch.tensor(lengths)[:, None]


def states(
    seed: int = 0, *, width: int = 8, heads: int = 2, layers: int = 2, mask_BT: Tensor | None = None, scale: float = 1.0
) -> States:
    """In float64. Scores are as `students.states` gives them: -inf at padding."""
    mask_BT = mask() if mask_BT is None else mask_BT
    rows, positions = mask_BT.shape
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * scale

    def heads_of(last: int) -> tuple[Tensor, ...]:
        return tuple(drawn(rows, heads, positions, last) for _ in range(layers))

    return States(
        mask_BT,
        hidden=tuple(drawn(rows, positions, width) for _ in range(layers + 1)),
        pooled_BH=drawn(rows, width),
        queries=heads_of(width // heads),
        keys=heads_of(width // heads),
        values=heads_of(width // heads),
        scores=tuple(value.masked_fill(~mask_BT[:, None, None, :], -torch.inf) for value in heads_of(positions)),
    )


PARTS = ("hidden", "queries", "keys", "values", "scores")


def every(given: States) -> list[Tensor]:
    """All of its tensors, in one list."""
    pooled = [] if given.pooled_BH is None else [given.pooled_BH]
    return [*pooled, *(value for part in PARTS for value in getattr(given, part))]


def mapped(given: States, change: Any) -> States:
    """`change` made of each of its tensors."""
    parts: dict[str, Any] = {part: tuple(change(value) for value in getattr(given, part)) for part in PARTS}
    return replace(given, pooled_BH=None if given.pooled_BH is None else change(given.pooled_BH), **parts)


def trainable(given: States) -> States:
    """The same, as leaves that take a gradient."""
    return mapped(given, lambda value: value.detach().clone().requires_grad_())


def built(name: str, student_width: int = 8, teacher_width: int = 8, **options: Any) -> FeatureLoss:
    loss: FeatureLoss = FEATURES.resolve(name)(**options)
    loss.prepare(student_width, teacher_width, torch.Generator().manual_seed(0))
    return loss.double()

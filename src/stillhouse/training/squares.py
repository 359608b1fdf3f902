"""Regression: one number a row, and its squared distance from the given number and from the teacher's.

Whatever divergence the recipe names: between normal distributions of one width, every KL is half of this square.

Shapes: N rows, S sources.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stillhouse.errors import RecipeError
from stillhouse.losses.fused import Sums
from stillhouse.losses.sources import Dense, Mixture, Projected, Source
from stillhouse.tensors import Batch, Output


def squared_sums(output: Output, batch: Batch, *, ce_N: Tensor, kd_N: Tensor | None = None, source: Source | None = None) -> Sums:
    """sum_n kd_N (student - teacher)^2 + ce_N (student - number)^2. `cross_entropy_N` holds the second one's squares;
    no number is simply right, so `correct_N` is zero.

    Raises RecipeError for a source that has no numbers of its own.
    """
    number_N = output.scores_NV.float().squeeze(-1)
    given_N = (number_N - batch.targets_N).square()
    total, teacher_N = (given_N * ce_N).sum(), torch.zeros_like(given_N)
    if source is not None and kd_N is not None:
        teacher_N = (number_N - _numbers(source)).square()
        total = total + (teacher_N * kd_N).sum()
    return Sums(total, teacher_N.detach(), given_N.detach(), torch.zeros_like(given_N).detach())


def _numbers(source: Source) -> Tensor:
    if isinstance(source, Projected):
        return source.head.scores(source.hidden_NH).float().squeeze(-1)
    if isinstance(source, Dense):
        return source.scores_NV.float().squeeze(-1)
    if isinstance(source, Mixture):
        numbers_NS = torch.stack([_numbers(one) for one in source.sources], dim=-1)
        return (numbers_NS * source.weights_NS).sum(dim=-1)
    raise RecipeError('A regression learns numbers, and this cache holds tokens: set [method] cache.tier = "logits".')

"""Rows for the losses' tests: random scores, and what a teacher says of them as every loss can read it.

Shapes: N rows, V vocabulary, K kept tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stillhouse.losses import LOSSES
from stillhouse.losses.base import Loss, Target

N, V = 5, 7


def build(name: str, **options: Any) -> Loss:
    """The loss, and random numbers that begin anew: one that draws makes the same draws after each building."""
    torch.manual_seed(0)
    loss: Loss = LOSSES.resolve(name)(**options)
    return loss


def scores(seed: int, *, rows: int = N, size: int = V, dtype: torch.dtype = torch.float64, spread: float = 3.0) -> Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(seed), dtype=dtype) * spread


def target(seed: int = 1, *, rows: int = N, size: int = V, dtype: torch.dtype = torch.float64, spread: float = 3.0) -> Target:
    tokens_N = torch.randint(size, (rows,), generator=torch.Generator().manual_seed(seed))
    return Target(tokens_N, scores(seed, rows=rows, size=size, dtype=dtype, spread=spread).log_softmax(-1))


def counted(log_p_NV: Tensor) -> Target:
    """The tokens drawn so often that the shares are the probabilities themselves."""
    ids_NV = torch.arange(log_p_NV.shape[-1]).expand_as(log_p_NV).contiguous()
    return Target(ids_NV[:, 0], ids_NK=ids_NV, counts_NK=log_p_NV.exp() * 1e6)


def by_autograd(loss: Loss, scores_NV: Tensor, given: Target) -> tuple[Tensor, Tensor]:
    """loss_N, and the gradient of its sum, from the formula alone."""
    scores_NV = scores_NV.detach().requires_grad_()
    loss_N = loss(scores_NV, given)
    [gradient_NV] = torch.autograd.grad(loss_N.sum(), scores_NV)
    return loss_N.detach(), gradient_NV

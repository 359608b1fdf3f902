"""What a teacher's distribution says about itself, a slice of rows at a time: how unsure it is, how it likes the answer given.

Shapes: N supervised rows, M rows of a slice, V its vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stillhouse.losses.base import Target
from stillhouse.losses.sources import Source

SLICE_NUMBERS = 1 << 22
"""Scores that stand at once: 16 MiB in float32."""


def entropy(source: Source, tokens_N: Tensor) -> Tensor:
    """entropy_N in nats, at temperature 1. For sources that have all scores."""
    return _by_slice(source, tokens_N, lambda target: torch.special.entr(_dense(target).exp()).sum(dim=-1))


def surprise(source: Source, tokens_N: Tensor, size: int | None = None) -> Tensor:
    """-log p_teacher(token)_N in nats, at temperature 1, over the first `size` scores. For sources that have all scores."""
    return _by_slice(source, tokens_N, lambda target: -_dense(target).gather(-1, target.tokens_N[:, None]).squeeze(-1), size)


def _by_slice(source: Source, tokens_N: Tensor, of: Callable[[Target], Tensor], size: int | None = None) -> Tensor:
    step = max(1, SLICE_NUMBERS // max(source.vocabulary, 1))
    one_11 = torch.ones(1, 1, device=tokens_N.device)
    parts = []
    with torch.no_grad():
        for start in range(0, len(tokens_N), step):
            rows = slice(start, start + step)
            tokens_M = tokens_N[rows]
            parts.append(of(source.target(rows, tokens_M, one_11.expand(len(tokens_M), 1), size or source.vocabulary)))
    return torch.cat(parts) if parts else torch.zeros(0, device=tokens_N.device)


def _dense(target: Target) -> Tensor:
    if target.log_probs_NV is None:
        raise ValueError("this needs the teacher's whole distribution")
    return target.log_probs_NV

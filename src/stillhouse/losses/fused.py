"""Head, softmax, divergence and cross-entropy in one, over slices of rows: the sum and its gradients, never all scores at once.

The gradients are made in the forward pass, while a slice's scores stand (as Liger Kernel does; CCE, Wijmans et al. 2025, drops
rows that count for nothing): each score is computed once, and what is kept for the backward pass is as large as the gradients
themselves. Here are the matrix products, tile by tile; which rows make a tile stands in `slices`, what is done to its scores in
`blocks`. No loss knows of any of this.

Shapes: N supervised rows, M of them (a tile's or a block's), H the student's width, V vocabulary.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stillhouse.losses.base import Loss, Rows
from stillhouse.losses.blocks import Block
from stillhouse.losses.slices import Plan, Work, block_rows, tile_rows
from stillhouse.losses.sources import Source
from stillhouse.tensors import Head

PART = 8192
"""Rows of the weights' gradient that are added at once, where the product is in half precision and the sum is not."""


class Sums(NamedTuple):
    """Over the rows of a micro-batch."""

    total: Tensor
    """sum_n kd_N * D_n + ce_N * CE_n: a scalar with its graph."""
    divergence_N: Tensor
    """D_n, without graph; zeros where there is no divergence, and in rows without any weight."""
    cross_entropy_N: Tensor
    """CE_n, without graph; zeros in rows without any weight."""
    correct_N: Tensor
    """1 where no other score is above the token's, else 0; zeros in rows without any weight."""


def weighted_sums(
    hidden_NH: Tensor,
    head: Head,
    tokens_N: Tensor,
    *,
    ce_N: Tensor,
    kd_N: Tensor | None = None,
    loss: Loss | None = None,
    source: Source | None = None,
    temperature_N: Tensor | None = None,
    tile: int | None = None,
) -> Sums:
    """The sum over rows of `kd_N` * loss(teacher, student, at temperature) + `ce_N` * cross-entropy (at temperature 1).

    The divergence compares the scores that both have (the smaller vocabulary's); cross-entropy is over all of the student's.
    Rows in which both weights are zero are left out before anything is computed. `tile`: bytes of scores that stand at once;
    None: what suits the device. The graph can be used once; a second backward pass raises RuntimeError.
    """
    work = Work(head, tokens_N, ce_N.detach(), tile=tile)
    if loss is not None and source is not None and kd_N is not None and temperature_N is not None:
        work = Work(head, tokens_N, ce_N.detach(), kd_N.detach(), loss, source, temperature_N, tile)
    inputs = (hidden_NH, head.weight_VH, head.bias_V)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs):
        return Sums(*_Fused.apply(*inputs, work))  # type: ignore[no-untyped-call]
    sums, _ = _Pass(work, hidden_NH, (False, False, False)).run()
    return sums


class _Gradients(NamedTuple):
    hidden_NH: Tensor | None
    weight_VH: Tensor | None
    bias_V: Tensor | None


class _Fused(torch.autograd.Function):
    """The graph's node: forward makes the gradients, backward hands them out."""

    @staticmethod
    def forward(ctx: Any, hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, work: Work) -> Sums:
        sums, ctx.gradients = _Pass(work, hidden_NH, ctx.needs_input_grad[:3]).run()
        ctx.mark_non_differentiable(sums.divergence_N, sums.cross_entropy_N, sums.correct_N)
        ctx.set_materialize_grads(False)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        # Not saved tensors: autograd then holds the only reference, and takes them as .grad instead of copying V x H.
        gradients, ctx.gradients = ctx.gradients, None
        if upstream is None:
            return (None,) * 4
        if gradients is None:
            raise RuntimeError("These gradients have been handed out: call weighted_sums again for a second backward pass.")
        if upstream.device.type != "cpu" or upstream.item() != 1:  # on an accelerator, looking at it would wait for it
            gradients = _Gradients(*(None if one is None else one.mul_(upstream) for one in gradients))
        return (*gradients, None)


class _Pass:
    """One way through a micro-batch: tile by tile, scores, scores turned into their own gradient, products of that."""

    def __init__(self, work: Work, hidden_NH: Tensor, needed: tuple[bool, bool, bool]) -> None:
        device, dtype = hidden_NH.device.type, hidden_NH.dtype
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype
        self._work = work
        self._needed = needed
        self._hidden_NH = hidden_NH.detach()
        self._product = torch.float32 if dtype == torch.float16 else dtype  # a mean's gradients would vanish in float16
        self._exact = torch.float32 if self._product == torch.bfloat16 else self._product
        self._weight_VH = work.head.weight_VH.detach().to(self._product)
        self._bias_V = None if work.head.bias_V is None else work.head.bias_V.detach().to(self._exact)
        self._plan = Plan.of(work)

    def run(self) -> tuple[Sums, _Gradients | None]:
        """The sums, and the total's gradients where any is needed."""
        work, plan = self._work, self._plan
        divergence_N = self._hidden_NH.new_zeros(len(work.tokens_N), dtype=self._exact)
        cross_entropy_N, correct_N = torch.zeros_like(divergence_N), torch.zeros_like(divergence_N)
        gradients = self._room() if any(self._needed) else None
        size = tile_rows(work.head.size * self._exact.itemsize, plan.count, work.tile, self._hidden_NH.device)
        buffer_MV = self._hidden_NH.new_empty(min(size, plan.count), work.head.size, dtype=self._exact)
        with torch.no_grad():
            for number, (rows, count) in enumerate(plan.tiles(size)):
                hidden_MH = self._hidden_NH[rows].to(self._product)
                scores_MV = self._project(hidden_MH, buffer_MV[:count])
                divergence_N[rows], cross_entropy_N[rows], correct_N[rows] = self._turn(scores_MV, rows)
                if gradients is not None:
                    self._spread(scores_MV, hidden_MH, rows, gradients, first=number == 0)
            total = (cross_entropy_N * work.ce_N).sum()
            if work.kd_N is not None:
                total = total + (divergence_N * work.kd_N).sum()
        return Sums(total, divergence_N, cross_entropy_N, correct_N), self._as_inputs(gradients)

    def _project(self, hidden_MH: Tensor, scores_MV: Tensor) -> Tensor:
        """The head's scores, in the buffer."""
        if self._product == self._exact:
            torch.mm(hidden_MH, self._weight_VH.t(), out=scores_MV)
        else:
            scores_MV.copy_(torch.mm(hidden_MH, self._weight_VH.t()))
        if self._bias_V is not None:
            scores_MV.add_(self._bias_V)
        if self._work.head.scale != 1.0:
            scores_MV.mul_(self._work.head.scale)
        cap = self._work.head.soft_cap
        return scores_MV if cap is None else scores_MV.div_(cap).tanh_().mul_(cap)

    def _turn(self, scores_MV: Tensor, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """divergence_M, cross_entropy_M, correct_M. Where gradients are needed, the scores become theirs, block by block."""
        work, plan = self._work, self._plan
        tokens_M, ce_M = work.tokens_N[rows], work.ce_N[rows]
        target, kd_M, temperature_M1 = None, None, None
        if work.source is not None and work.kd_N is not None and work.temperature_N is not None:
            kd_M, temperature_M1 = work.kd_N[rows], work.temperature_N[rows][:, None]
            target = work.source.target(rows, tokens_M, temperature_M1, plan.size)
        step = block_rows(scores_MV)
        parts = []
        for start in range(0, len(scores_MV), step):
            block = slice(start, start + step)
            part = Block(work, plan, scores_MV[block], tokens_M[block], ce_M[block])
            correct_M = part.correct()  # while the scores are scores
            if target is None or kd_M is None or temperature_M1 is None:
                parts.append((*part.cross_entropy(any(self._needed)), correct_M))
            else:
                taught = target.at(block)
                parts.append((*part.both(taught, kd_M[block], temperature_M1[block], any(self._needed)), correct_M))
        divergence, cross_entropy, correct = zip(*parts, strict=True)
        return torch.cat(divergence), torch.cat(cross_entropy), torch.cat(correct)

    def _spread(self, gradient_MV: Tensor, hidden_MH: Tensor, rows: Rows, gradients: _Gradients, *, first: bool) -> None:
        """Through the linear layer: into the tile's states, and added to the weights', which the first tile finds unwritten."""
        low_MV = gradient_MV.to(self._product)
        if gradients.hidden_NH is not None:
            gradients.hidden_NH[rows] = torch.mm(low_MV, self._weight_VH).to(gradients.hidden_NH.dtype)
        if gradients.bias_V is not None:
            gradients.bias_V.add_(gradient_MV.sum(dim=0))
        if gradients.weight_VH is None:
            return
        if self._product == self._exact:
            gradients.weight_VH.addmm_(gradient_MV.t(), hidden_MH, beta=0 if first else 1)
            return
        for start in range(0, self._work.head.size, PART):
            part = slice(start, start + PART)
            gradients.weight_VH[part].add_(torch.mm(low_MV[:, part].t(), hidden_MH))

    def _room(self) -> _Gradients:
        """For the states in their own precision, each row being written once; for the weights in that of sums."""
        hidden, weight, bias = self._needed
        written = self._plan.count > 0 and self._product == self._exact
        weights = torch.empty_like if written else torch.zeros_like
        return _Gradients(
            torch.zeros_like(self._hidden_NH) if hidden else None,
            weights(self._weight_VH, dtype=self._exact) if weight else None,
            torch.zeros_like(self._weight_VH[:, 0], dtype=self._exact) if bias else None,
        )

    def _as_inputs(self, gradients: _Gradients | None) -> _Gradients | None:
        """In the precision of what they are of."""
        if gradients is None:
            return None
        head = self._work.head
        return _Gradients(
            gradients.hidden_NH,
            None if gradients.weight_VH is None else gradients.weight_VH.to(head.weight_VH.dtype),
            None if gradients.bias_V is None or head.bias_V is None else gradients.bias_V.to(head.bias_V.dtype),
        )

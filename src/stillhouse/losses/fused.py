"""Head, softmax, divergence and cross-entropy in one, over slices of rows: the sum and its gradients, never all scores at once.

The gradients are made in the forward pass, while a slice's scores stand (as Liger Kernel does; CCE, Wijmans et al. 2025, drops
rows that count for nothing): each score is computed once, and what is kept for the backward pass is as large as the gradients
themselves. Two sizes of slices: a tile of rows for the matrix products, whose one buffer is used again for every tile, and within
it a block of rows for everything elementwise, small enough to stay in the processor's cache. No loss knows of any of this.

Shapes: N supervised rows, M of them (a tile's or a block's), H the student's width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stillhouse.losses.base import Loss, Rows, Target
from stillhouse.losses.sources import Source
from stillhouse.tensors import Head

TILE_BYTES = {"cpu": 32 << 20, "cuda": 64 << 20}
"""Scores of a tile, by device."""
FEWEST_ROWS = 64
"""Of a tile, however large the vocabulary: with fewer, the products wait for the weights to be read."""
BLOCK_BYTES = 512 << 10
"""Scores of a block, for each thread."""
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
    work = _Work(head, tokens_N, ce_N.detach(), tile=tile)
    if loss is not None and source is not None and kd_N is not None and temperature_N is not None:
        work = _Work(head, tokens_N, ce_N.detach(), kd_N.detach(), loss, source, temperature_N, tile)
    inputs = (hidden_NH, head.weight_VH, head.bias_V)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs):
        return Sums(*_Fused.apply(*inputs, work))  # type: ignore[no-untyped-call]
    sums, _ = _Pass(work, hidden_NH, (False, False, False)).run()
    return sums


@dataclass(frozen=True)
class _Work:
    """What is computed, beside the tensors that gradients are asked for."""

    head: Head
    tokens_N: Tensor
    ce_N: Tensor
    kd_N: Tensor | None = None
    loss: Loss | None = None
    source: Source | None = None
    temperature_N: Tensor | None = None
    tile: int | None = None


class _Gradients(NamedTuple):
    hidden_NH: Tensor | None
    weight_VH: Tensor | None
    bias_V: Tensor | None


class _Fused(torch.autograd.Function):
    """The graph's node: forward makes the gradients, backward hands them out."""

    @staticmethod
    def forward(ctx: Any, hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, work: _Work) -> Sums:
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

    def __init__(self, work: _Work, hidden_NH: Tensor, needed: tuple[bool, bool, bool]) -> None:
        device, dtype = hidden_NH.device.type, hidden_NH.dtype
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype
        self._work = work
        self._needed = needed
        self._hidden_NH = hidden_NH.detach()
        self._product = torch.float32 if dtype == torch.float16 else dtype  # a mean's gradients would vanish in float16
        self._exact = torch.float32 if self._product == torch.bfloat16 else self._product
        self._weight_VH = work.head.weight_VH.detach().to(self._product)
        self._bias_V = None if work.head.bias_V is None else work.head.bias_V.detach().to(self._exact)
        self._plan = _Plan.of(work)

    def run(self) -> tuple[Sums, _Gradients | None]:
        """The sums, and the total's gradients where any is needed."""
        work, plan = self._work, self._plan
        divergence_N = self._hidden_NH.new_zeros(len(work.tokens_N), dtype=self._exact)
        cross_entropy_N, correct_N = torch.zeros_like(divergence_N), torch.zeros_like(divergence_N)
        gradients = self._room() if any(self._needed) else None
        size = _tile_rows(work.head.size * self._exact.itemsize, plan.count, work.tile, self._hidden_NH.device)
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
        step = _block_rows(scores_MV)
        parts = []
        for start in range(0, len(scores_MV), step):
            block = slice(start, start + step)
            part = _Block(work, plan, scores_MV[block], tokens_M[block], ce_M[block])
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


@dataclass(frozen=True)
class _Plan:
    """What is known of a micro-batch before it is begun: the one time that the processor waits for the device."""

    kept: Tensor | None
    """Indices of the rows that have a weight; None: all."""
    count: int
    """How many."""
    cross_entropy: bool
    """Whether any row's has a weight. Its value is reported in any case."""
    size: int
    """Scores that are compared with the teacher's."""
    plain: bool
    """All of the student's scores are compared, at temperature 1: one softmax does for both."""

    @classmethod
    def of(cls, work: _Work) -> _Plan:
        size = work.head.size if work.source is None else min(work.head.size, work.source.vocabulary)
        by_ce_N = work.ce_N != 0
        kept_N = by_ce_N if work.kd_N is None else by_ce_N | (work.kd_N != 0)
        soft_N = torch.zeros_like(kept_N) if work.temperature_N is None else work.temperature_N != 1
        known_3N = torch.stack([kept_N, by_ce_N, soft_N]).cpu()
        count = int(known_3N[0].sum())
        everything = count == len(kept_N)
        kept = None if everything else known_3N[0].nonzero().squeeze(-1).to(work.ce_N.device)
        plain = size == work.head.size and not bool(known_3N[2].any())
        return cls(kept, count, bool(known_3N[1].any()), size, plain)

    def tiles(self, size: int) -> Iterator[tuple[Rows, int]]:
        """The rows of each tile, and how many they are."""
        for start in range(0, self.count, size):
            stop = min(start + size, self.count)
            yield (slice(start, stop) if self.kept is None else self.kept[start:stop]), stop - start


@dataclass(frozen=True)
class _Block:
    """Some rows' scores, and what is minimised there."""

    work: _Work
    plan: _Plan
    scores_MV: Tensor
    tokens_M: Tensor
    ce_M: Tensor

    def correct(self) -> Tensor:
        """correct_M: one more pass over scores that lie in the cache."""
        return self._of(self.scores_MV).eq(self.scores_MV.amax(dim=-1)).to(self.scores_MV.dtype)

    def cross_entropy(self, gradient: bool) -> tuple[Tensor, Tensor]:
        """Zeros and cross_entropy_M; with `gradient`, the scores become it."""
        log_q_MV = self.scores_MV.log_softmax(dim=-1)
        cross_entropy_M = -self._of(log_q_MV)
        if gradient:
            self._write(self._pull(log_q_MV))
        return torch.zeros_like(cross_entropy_M), cross_entropy_M

    def both(self, target: Target, kd_M: Tensor, temperature_M1: Tensor, gradient: bool) -> tuple[Tensor, Tensor]:
        """divergence_M and cross_entropy_M; with `gradient`, the scores become the weighted sum's."""
        loss = self.work.loss
        assert loss is not None
        log_q_MV = self.scores_MV.log_softmax(dim=-1)
        cross_entropy_M = -self._of(log_q_MV)
        soft_MV = log_q_MV
        if not self.plan.plain:
            soft_MV = (self.scores_MV[:, : self.plan.size] / temperature_M1).log_softmax(dim=-1)
        if not gradient:
            return loss.value(soft_MV, target), cross_entropy_M
        divergence_M, gradient_MV = loss.value_and_gradient(soft_MV, target)
        gradient_MV = gradient_MV.mul_(kd_M[:, None] / temperature_M1)
        if self.plan.cross_entropy:
            pull_MV = self._pull(log_q_MV)
            pull_MV[:, : self.plan.size].add_(gradient_MV)
            gradient_MV = pull_MV
        self._write(gradient_MV)
        return divergence_M, cross_entropy_M

    def _of(self, values_MV: Tensor) -> Tensor:
        return values_MV.gather(-1, self.tokens_M[:, None]).squeeze(-1)

    def _pull(self, log_q_MV: Tensor) -> Tensor:
        """Cross-entropy's weighted gradient: ce (q - 1 at the token), over the log-probabilities."""
        ce_M1 = self.ce_M[:, None].to(log_q_MV.dtype)
        return log_q_MV.exp_().mul_(ce_M1).scatter_add_(-1, self.tokens_M[:, None], -ce_M1)

    def _write(self, gradient_MV: Tensor) -> None:
        """Over the scores, back through what the head does to them; zero where no teacher's score was compared."""
        head, size = self.work.head, gradient_MV.shape[-1]
        if head.soft_cap is not None:
            gradient_MV = gradient_MV * (1 - (self.scores_MV[:, :size] / head.soft_cap).square())
        self.scores_MV[:, :size] = gradient_MV if head.scale == 1.0 else gradient_MV * head.scale
        self.scores_MV[:, size:] = 0


def _tile_rows(row_bytes: int, count: int, tile: int | None, device: torch.device) -> int:
    """Rows of a tile, all tiles alike: as many as its bytes hold, but enough to make a product worth while."""
    if tile is not None:
        return max(1, tile // row_bytes)
    most = max(FEWEST_ROWS, TILE_BYTES.get(device.type, TILE_BYTES["cuda"]) // row_bytes)
    return max(1, math.ceil(count / max(1, math.ceil(count / most))))


def _block_rows(scores_MV: Tensor) -> int:
    """Rows of a block: what every core's own cache holds; on an accelerator the whole tile."""
    if scores_MV.device.type != "cpu":
        return max(1, len(scores_MV))
    threads = torch.get_num_threads()
    return max(threads, threads * BLOCK_BYTES // (scores_MV.shape[-1] * scores_MV.element_size()))

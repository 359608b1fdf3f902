"""A block: some rows' scores, what is minimised there, and the scores turned into the gradient of it.

Elementwise work alone, over scores that lie in the processor's cache. Shapes: M rows, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stillhouse.losses.base import Target
from stillhouse.losses.slices import Plan, Work


@dataclass(frozen=True)
class Block:
    """Some rows' scores, and what is minimised there."""

    work: Work
    plan: Plan
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

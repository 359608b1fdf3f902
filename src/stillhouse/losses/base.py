"""What a loss is: a pure function of the student's log-probabilities at supervised rows and of what the teacher said there.

It neither shifts nor masks, sums, divides, nor knows a temperature: both sides come at the temperature the recipe asks for, and
the trainer does the rest in one place (`training/objective.py`). It is written once as a formula (`value`), which autograd can
differentiate, and, where there is one, as a closed form (`value_and_gradient`), which the fused path uses and needs no graph.

Shapes: N supervised rows, V vocabulary (or labels), K tokens that are kept of it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stillhouse.signal import Signal

Rows = slice | Tensor
"""Which rows: a slice, or their indices (int64)."""

LEAST = math.log(torch.finfo(torch.float32).tiny)
"""-87.3, the log of the smallest normal number of float32: a teacher's log-probability counts as this at least. So a token that
it rules out (-inf) adds nothing to p (log p - log q), has a finite price in q (log q - log p), and no 0 * inf arises."""


@dataclass(frozen=True)
class Target:
    """What the teacher said at N rows, at the temperature of the loss: always the token, and more where the signal holds more."""

    tokens_N: Tensor
    """Token ids (or labels), int64."""
    log_probs_NV: Tensor | None = None
    """Over the student's own vocabulary, for losses that need `logits`."""
    ids_NK: Tensor | None = None
    """Tokens that were kept, int64, for losses that need `top_logprobs` or `samples`. Where there are fewer than K, the rest
    repeat an id with log-probability -inf, or with count 0."""
    log_probs_NK: Tensor | None = None
    """Of the kept tokens; what is missing to 1 is the tail."""
    counts_NK: Tensor | None = None
    """How often each was drawn, for losses that need `samples`."""

    def at(self, rows: Rows) -> Target:
        """The same of some rows only."""
        fields = (self.tokens_N, self.log_probs_NV, self.ids_NK, self.log_probs_NK, self.counts_NK)
        return Target(fields[0][rows], *(None if field is None else field[rows] for field in fields[1:]))


class Loss(ABC):
    """Built with its own options as keywords (`beta`, `alpha`, ...). Raises TypeError for one it does not have, ValueError for a
    value that makes no sense."""

    needs: Signal = "logits"
    """A teacher that cannot give it is refused before any compute."""

    @abstractmethod
    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats: >= 0, and 0 where the student agrees with the target. `log_q_NV`: the student's log-probabilities."""

    def value_and_gradient(self, log_q_NV: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """loss_N, and its gradient with regard to the student's scores (before the softmax, at the temperature). No graph.

        This one differentiates `value`; a closed form replaces it where speed counts. The caller may change the gradient, and
        finds `log_q_NV` and the target as they were.
        """
        with torch.enable_grad():
            log_q_NV = log_q_NV.detach().requires_grad_()
            loss_N = self.value(log_q_NV, target)
            [gradient_NV] = torch.autograd.grad(loss_N.sum(), log_q_NV)
        return loss_N.detach(), gradient_NV - log_q_NV.detach().exp() * gradient_NV.sum(dim=-1, keepdim=True)

    def __call__(self, scores_NV: Tensor, target: Target) -> Tensor:
        """loss_N of raw scores, computed in float32 at least."""
        return self.value(at_least_float32(scores_NV).log_softmax(dim=-1), target)

    def advance(self, progress: float, loss: float) -> None:  # noqa: B027  (most losses do not change as training goes on)
        """Told after each step how far the run is (0 to 1) and what this loss was, its mean over rows."""

    def state(self) -> Mapping[str, float]:
        """What `advance` changed, for the checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, float]) -> None:  # noqa: B027
        """Take back what `state` gave."""


def at_least_float32(scores_NV: Tensor) -> Tensor:
    """Half precision is widened, because exp and log of it are too coarse; float32 and float64 stay."""
    return scores_NV if scores_NV.dtype in (torch.float32, torch.float64) else scores_NV.float()


def dense(target: Target, loss: Any) -> Tensor:
    """The teacher's log_probs_NV, none below LEAST. Raises ValueError where the target has none."""
    if target.log_probs_NV is None:
        raise ValueError(f"{type(loss).__name__} needs the teacher's whole distribution, and the target has none.")
    return target.log_probs_NV.clamp(min=LEAST)


def whole(loss: Any, name: str, value: int) -> int:
    """An option that counts. Raises ValueError for what is no whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{type(loss).__name__}: {name} must be a whole number of at least 1, not {value!r}.")
    return value


def within(loss: Any, name: str, value: float, low: float = 0.0, high: float = 1.0) -> float:
    """An option that is a share. Raises ValueError outside of it."""
    if not low <= value <= high:
        raise ValueError(f"{type(loss).__name__}: {name} must be between {low:g} and {high:g}, not {value!r}.")
    return float(value)

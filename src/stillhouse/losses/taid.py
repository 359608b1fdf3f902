"""Temporally adaptive interpolated distillation (TAID: Shing et al. 2025, eq. 3 and algorithm 1).

Shapes: N rows, V vocabulary; q the student.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from stillhouse.losses.base import Loss, Target, dense, within
from stillhouse.signal import Signal


class TAID(Loss):
    """KL(p_t, q), p_t = softmax((1 - t) student's scores, detached, + t teacher's scores): a teacher that starts near.

    t goes from `start` to `end`, at least linearly with the run; faster while the loss falls:

        m = beta m + (1 - beta) (L_before - L) / L_before,   t = min(end, max(linear, t + alpha sigmoid(m) (1 - t)))
    """

    needs: Signal = "logits"

    def __init__(self, start: float = 0.4, end: float = 1.0, alpha: float = 5e-4, beta: float = 0.99) -> None:
        self._start = within(self, "start", start)
        self._end = within(self, "end", end, low=start)
        self._alpha = within(self, "alpha", alpha)
        self._beta = within(self, "beta", beta)
        self._t = start
        self._momentum = 0.0
        self._before: float | None = None

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """loss_N in nats. No gradient flows through p_t."""
        log_p_NV = self._between(log_q_NV, target)
        return (log_p_NV.exp() * (log_p_NV - log_q_NV)).sum(dim=-1)

    def value_and_gradient(self, log_q_NV: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Gradient: q - p_t."""
        log_p_NV = self._between(log_q_NV, target)
        p_NV = log_p_NV.exp()
        return log_p_NV.sub_(log_q_NV).mul_(p_NV).sum(dim=-1), log_q_NV.exp().sub_(p_NV)

    def advance(self, progress: float, loss: float) -> None:
        """Move t. The first call only takes note of the loss; a loss that is no number moves nothing but the linear part."""
        linear = self._start + (self._end - self._start) * progress
        if self._before is not None and math.isfinite(loss) and self._before > 0:
            self._momentum = self._beta * self._momentum + (1 - self._beta) * (self._before - loss) / self._before
            step = self._alpha / (1 + math.exp(-max(self._momentum, -700.0))) * (1 - self._t)
        else:
            step = 0.0
        self._t = min(self._end, max(linear, self._t + step))
        self._before = loss if math.isfinite(loss) else self._before

    def state(self) -> Mapping[str, float]:
        """`t`, `momentum`, and the last loss as `before` once there is one."""
        state = {"t": self._t, "momentum": self._momentum}
        return state if self._before is None else {**state, "before": self._before}

    def load_state(self, state: Mapping[str, float]) -> None:
        self._t, self._momentum, self._before = state["t"], state["momentum"], state.get("before")

    def _between(self, log_q_NV: Tensor, target: Target) -> Tensor:
        """log p_t. Log-probabilities do for scores: what they differ by is one number a row, which the softmax takes out."""
        log_p_NV = dense(target, self)
        return (log_q_NV.detach() * (1 - self._t) + log_p_NV * self._t).log_softmax(dim=-1)

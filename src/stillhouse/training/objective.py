"""What is minimised, and the one division: weighted sums over supervised tokens / the whole window's weight.

The window is every micro-batch of an optimizer step, so how it is cut changes nothing, and an epoch's smaller last window
counts each of its tokens as much as itself, not as a full one would.

Shapes: B examples, T positions, N supervised positions, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stillhouse.losses.base import Loss, Target
from stillhouse.losses.cross_entropy import CrossEntropy
from stillhouse.training.batch import Batch


class Objective:
    """Black-box: cross-entropy. White-box: share * T^2 * D(teacher || student at T) + (1 - share) * cross-entropy.

    T^2, because the gradient of the divergence shrinks with 1/T^2 (Hinton et al. 2015, section 2.1): so `share` means the same
    at every temperature.
    """

    def __init__(
        self, teacher: Any = None, divergence: Loss | None = None, *, temperature: float = 1.0, share: float = 0.0
    ) -> None:
        self._teacher = teacher
        """A network over the student's vocabulary, or None."""
        self._divergence = divergence
        self._scale = temperature**2
        self._share = share
        self._cross_entropy = CrossEntropy()

    def to(self, device: torch.device) -> Objective:
        """Itself, with the teacher on `device`."""
        if self._teacher is not None:
            self._teacher.to(device)
        return self

    def sums(self, network: Any, batch: Batch) -> dict[str, Tensor]:
        """Weighted sums over the batch's supervised tokens, undivided: `loss` (with its graph) and its parts (without)."""
        logits_NV = _logits_at(network, batch)
        ce = (self._cross_entropy(logits_NV, Target(batch.targets_N)) * batch.weights_N).sum()
        if self._divergence is None:
            return {"loss": ce}
        with torch.no_grad():
            teacher_NV = _logits_at(self._teacher, batch)
        divergence_N = self._divergence(logits_NV, Target(batch.targets_N, teacher_NV))
        kd = (divergence_N * batch.weights_N).sum() * self._scale
        return {"loss": self._share * kd + (1 - self._share) * ce, "kd_loss": kd.detach(), "ce_loss": ce.detach()}


def _logits_at(network: Any, batch: Batch) -> Tensor:
    """logits_NV at the supervised positions."""
    logits_BTV: Tensor = network(input_ids=batch.tokens_BT, use_cache=False).logits
    return logits_BTV.flatten(0, 1).index_select(0, batch.positions_N)

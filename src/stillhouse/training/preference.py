"""Learning from pairs: a better and a worse answer to the same prompt, as where an expert corrected what the teacher said.

Two objectives. `DirectPreference` (DPO, Rafailov et al. 2023) needs no teacher: the better answer shall gain more over what the
student said at the start than the worse one does. `Contrastive` (DistiLLM-2, Ko et al. 2025) draws the student to the teacher on
the better answer and away from what the teacher would not say on the worse. A pair is one example (`Encoded.partner`), so no
micro-batch, however it is cut, holds half of one; its micro-batch holds all better answers first, then all worse ones.

Shapes: P pairs, N supervised rows of a micro-batch, those of the better answers first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError
from stillhouse.losses.fused import weighted_sums
from stillhouse.losses.skew_kl import SkewKL
from stillhouse.losses.skew_reverse_kl import SkewReverseKL
from stillhouse.method import Preference
from stillhouse.students.base import Trainable
from stillhouse.tensors import Batch, Encoded, Output
from stillhouse.training.objective import Objective, Window
from stillhouse.training.teachers.base import Teaching

REFERENCE = "reference"
"""Name in `Encoded.extra` of the log-probability each token had for the student at the start."""


def is_pair(example: Example) -> bool:
    """Whether it has a worse answer to learn from."""
    return example.rejected is not None and example.rejected != example.answer


def paired(student: Trainable, examples: Sequence[Example], *, max_tokens: int) -> list[Encoded]:
    """Examples that have a worse answer, as pairs, in order; the others teach nothing here and are left out.

    Raises RecipeError where there are examples and none has one, and for a student that gives labels.
    """
    if student.row_labels is not None:
        raise RecipeError(
            f"Pairs of answers are for students that write, and one of kind '{student.kind}' gives labels. Set [method] kind = "
            '"black-box" or "white-box".'
        )
    pairs = [example for example in examples if is_pair(example)]
    if examples and not pairs:
        raise RecipeError(
            f"None of the {len(examples)} examples has a worse answer to compare with. Import pairs (JSON lines of input, "
            'preferred_output, non_preferred_output), or set [method] kind = "black-box".'
        )
    better = student.encode(pairs, max_tokens=max_tokens)
    worse = student.encode([pair.model_copy(update={"answer": pair.rejected}) for pair in pairs], max_tokens=max_tokens)
    return [replace(one, partner=other) for one, other in zip(better, worse, strict=True)]


def with_reference(student: Trainable, rows: Sequence[Encoded], *, batch_size: int = 16) -> list[Encoded]:
    """The same pairs with what `student` thinks of each token now, in `extra`: called once, before the first step.

    A resumed run calls it on the student as it was built, before the checkpoint is read, and gets the same numbers.
    """
    mode = student.network.training
    student.network.eval()
    found: list[Encoded] = []
    with torch.no_grad():
        for start in range(0, len(rows), batch_size):
            found += _with_reference(student, rows[start : start + batch_size])
    student.network.train(mode)
    return found


class DirectPreference(Objective):
    """DPO: -log sigmoid(beta * ((log q - log q_start)(better) - (log q - log q_start)(worse))), the mean over pairs by weight.

    log q is the sum over the answer's tokens, the end token among them. log 2 at the start.
    """

    def __init__(self, method: Preference) -> None:
        self._beta = method.beta

    def losses(self, student: Trainable, batch: Batch, window: Window) -> dict[str, Tensor]:
        pairs = _Pairs.of(batch, window)
        output = student.output(batch)
        gain_N = _log_probs(output, batch) - batch.extra[REFERENCE]
        margin_P = self._beta * pairs.difference(gain_N)
        # d loss / d log q is the same for all rows of an answer, so the gradient is that of weighted cross-entropies
        slope_P = pairs.weight_P * self._beta * torch.sigmoid(-margin_P)
        ce_N = torch.cat([slope_P, -slope_P])[batch.owners_N]
        total = weighted_sums(output.hidden_NH, output.head, batch.targets_N, ce_N=ce_N).total
        value = -(pairs.weight_P * logsigmoid(margin_P)).sum()
        return {
            "loss": value + (total - total.detach()),
            "margin": (pairs.weight_P * margin_P).sum(),
            "preferred": (pairs.weight_P * (margin_P > 0)).sum(),
        }


class Contrastive(Objective):
    """DistiLLM-2: skew KL to the teacher on the better answers, skew reverse KL on the worse, the mean over rows of both."""

    def __init__(self, method: Preference, teaching: Teaching) -> None:
        self._teaching = teaching
        self._better, self._worse = SkewKL(method.alpha), SkewReverseKL(method.alpha)

    def to(self, device: torch.device) -> Contrastive:
        self._teaching.to(device)
        return self

    def losses(self, student: Trainable, batch: Batch, window: Window) -> dict[str, Tensor]:
        output, source = student.output(batch), self._teaching.source(batch)
        weight_N = batch.weights_N / window.rows
        better_N = batch.owners_N < len(batch.examples) // 2
        parts: dict[str, Tensor] = {}
        total = weight_N.new_zeros(())
        for name, loss, rows_N in (("skew_kl", self._better, better_N), ("skew_reverse_kl", self._worse, ~better_N)):
            sums = weighted_sums(
                output.hidden_NH,
                output.head,
                batch.targets_N,
                ce_N=torch.zeros_like(weight_N),
                kd_N=weight_N * rows_N,
                loss=loss,
                source=source,
                temperature_N=torch.ones_like(weight_N),
            )
            total = total + sums.total
            parts[name] = (sums.divergence_N * weight_N * rows_N).sum()
        return {"loss": total, **parts}


class _Pairs(NamedTuple):
    """Which rows make which pair, and what each counts for."""

    owners_N: Tensor
    weight_P: Tensor
    """Its example's weight / that of all pairs of the window."""

    @classmethod
    def of(cls, batch: Batch, window: Window) -> _Pairs:
        count = len(batch.examples) // 2
        rows_E = batch.owners_N.bincount(minlength=2 * count)
        first_P = (rows_E.cumsum(0) - rows_E)[:count]
        return cls(batch.owners_N, batch.weights_N[first_P] / (window.examples / 2))

    def difference(self, value_N: Tensor) -> Tensor:
        """Sum over the better answer's rows - sum over the worse one's."""
        count = len(self.weight_P)
        sum_E = value_N.new_zeros(2 * count).index_add(0, self.owners_N, value_N)
        return sum_E[:count] - sum_E[count:]


def _log_probs(output: Output, batch: Batch) -> Tensor:
    """log q_N of the answers' tokens, without graph."""
    with torch.no_grad():
        one_N = torch.ones_like(batch.weights_N)
        return -weighted_sums(output.hidden_NH, output.head, batch.targets_N, ce_N=one_N).cross_entropy_N


def _with_reference(student: Trainable, rows: Sequence[Encoded]) -> list[Encoded]:
    batch = student.collate(rows).to(next(student.network.parameters()).device)
    counts = batch.owners_N.bincount(minlength=len(batch.examples)).tolist()
    ends = list(accumulate(counts))
    values = _log_probs(student.output(batch), batch).tolist()
    extras = [{REFERENCE: tuple(values[end - count : end])} for count, end in zip(counts, ends, strict=True)]
    better, worse = extras[: len(rows)], extras[len(rows) :]
    found = []
    for row, its, theirs in zip(rows, better, worse, strict=True):
        assert row.partner is not None
        found.append(replace(row, extra=its, partner=replace(row.partner, extra=theirs)))
    return found

"""The reverse KL of whole answers, by policy gradient: MiniLLM's objective (Gu et al. 2024).

A token of the student's own answer is taught two things: to agree with the teacher at this place (the single step, whose
expectation is computed exactly), and to lead where the teacher would go on (the long part, by policy gradient):

    gradient = E[ sum_t  grad KL(q_t || p_t)  -  w_t R_(t+1) grad log q(y_t) ]

R_(t+1) is the mean over the tokens t' > t of log p(y_t') / q(y_t'). w_t = q(y_t) / b(y_t) corrects for what the answers were
drawn from: a mixture with the teacher, or the student of some steps ago. The single step depends on the tokens before t only, so
a w_t of its own would add noise and no correctness, and is left out.

Shapes: B examples, N supervised rows of a micro-batch, in the order of their examples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stillhouse.errors import RecipeError
from stillhouse.losses.base import Loss
from stillhouse.losses.fused import weighted_sums
from stillhouse.losses.sources import Projected
from stillhouse.method import WhiteBox
from stillhouse.students.base import Trainable
from stillhouse.tensors import Batch, Output
from stillhouse.training.objective import BEHAVIOUR, Distillation, Window
from stillhouse.training.reading import surprise
from stillhouse.training.teachers.base import Teaching


class PolicyGradient(Distillation):
    """On rollouts, the above at temperature 1; on the dataset's windows, what `Distillation` does with the same method.

    `loss` of a rollout is the mean KL(q_t || p_t), whose gradient is the whole one; `reward` the mean of log p / q.
    """

    def __init__(self, method: WhiteBox, teaching: Teaching, loss: Loss, *, length_normalised: bool = True) -> None:
        """`loss` is the reverse KL. `length_normalised` = False: R is the sum, which makes long answers count more (the unbiased
        gradient, for tests). Raises RecipeError for another loss or for features.
        """
        if method.loss != "reverse_kl" or method.features:
            raise RecipeError(
                'The policy gradient minimises the reverse KL of whole answers, nothing else: set [method] loss = "reverse_kl" '
                f'(it is "{method.loss}") and leave features out, or set [method.rollouts] estimator = "distribution".'
            )
        super().__init__(method, teaching, loss)
        self._single_step = loss
        self._length_normalised = length_normalised

    def losses(self, student: Trainable, batch: Batch, window: Window) -> dict[str, Tensor]:
        if BEHAVIOUR not in batch.extra:
            return super().losses(student, batch, window)
        output = student.output(batch)
        weight_N = batch.weights_N / window.rows
        source = self.teaching.source(batch)
        size = min(source.vocabulary, output.head.size)
        log_q_N = _log_probs(output, batch, size)
        reward_N = -surprise(source, batch.targets_N, size) - log_q_N
        later_N = rewards_to_come(reward_N, batch.owners_N, mean=self._length_normalised)
        importance_N = (log_q_N - batch.extra[BEHAVIOUR]).exp()
        sums = weighted_sums(
            output.hidden_NH,
            output.head.first(size),  # over the scores that were rewarded: those of padding would gain what these lose
            batch.targets_N,
            ce_N=weight_N * importance_N * later_N,
            kd_N=weight_N,
            loss=self._single_step,
            source=source,
            temperature_N=torch.ones_like(weight_N),
        )
        value = (sums.divergence_N * weight_N).sum()
        return {
            "loss": value + (sums.total - sums.total.detach()),
            "kd_loss": value,
            "divergence": value,
            "reward": (reward_N * weight_N).sum(),
        }


def rewards_to_come(reward_N: Tensor, owners_N: Tensor, *, mean: bool) -> Tensor:
    """Of each row, the sum (or mean) of the rewards of the later rows of its example; 0 for the last one."""
    if not len(reward_N):
        return reward_N
    ends_B = owners_N.bincount().cumsum(0) - 1
    end_N = ends_B[owners_N]
    until_N = reward_N.double().cumsum(0)
    later_N = until_N[end_N] - until_N
    if mean:
        later_N = later_N / (end_N - torch.arange(len(end_N), device=end_N.device)).clamp(min=1)
    return later_N.to(reward_N.dtype)


def _log_probs(output: Output, batch: Batch, size: int) -> Tensor:
    """log_q_N of the tokens that were said, over the first `size` scores, without graph."""
    return -surprise(Projected(output.hidden_NH.detach(), output.head.first(size)), batch.targets_N, size)

"""MiniLLM's gradient against the gradient of the sequence-level reverse KL, by adding up every answer of a small world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from stillhouse.errors import RecipeError
from stillhouse.losses.base import Loss, Target, dense
from stillhouse.losses.sources import Dense, Source
from stillhouse.method import Feature, WhiteBox
from stillhouse.students.base import Trainable
from stillhouse.tensors import Batch, Head, Output
from stillhouse.training.objective import BEHAVIOUR, Window
from stillhouse.training.policy_gradient import PolicyGradient, rewards_to_come
from stillhouse.training.teachers.base import Teaching

END, GO_ON = 0, 1
ANSWERS = [(END,), (GO_ON, END), (GO_ON, GO_ON, END), (GO_ON, GO_ON, GO_ON)]
"""Two tokens; at most three of them: all that can be said. What comes next depends on how often GO_ON was said."""
METHOD = WhiteBox(loss="reverse_kl")
WHOLE = Window(rows=1.0, examples=1.0)


class ReverseKL(Loss):
    """An oracle of this test's own."""

    def value(self, log_q_NV: Tensor, target: Target) -> Tensor:
        return (log_q_NV.exp() * (log_q_NV - dense(target, self))).sum(dim=-1)


class World:
    """A student that is a table: scores of the two tokens after 0, 1, 2 times GO_ON."""

    def __init__(self, seed: int) -> None:
        self.table_VH = torch.randn(2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()

    @property
    def log_probs_HV(self) -> Tensor:
        return self.table_VH.T.log_softmax(-1)

    def said(self, answer: tuple[int, ...]) -> Tensor:
        """log q of the whole answer."""
        return torch.stack([self.log_probs_HV[at, token] for at, token in enumerate(answer)]).sum()

    def output(self, batch: Batch) -> Output:
        return Output(torch.eye(3, dtype=torch.float64)[batch.positions_N], Head(self.table_VH))


class Table(Teaching):
    def __init__(self, world: World) -> None:
        self._scores_HV = world.table_VH.detach().T

    def source(self, batch: Batch) -> Source:
        return Dense(self._scores_HV[batch.positions_N])


def batch_of(answers: list[tuple[int, ...]], weights: list[float], behaviour: list[list[float]]) -> Batch:
    rows = [(i, at, token) for i, answer in enumerate(answers) for at, token in enumerate(answer)]
    return Batch(
        examples=tuple(map(str, range(len(answers)))),
        inputs={},
        positions_N=torch.tensor([at for _, at, _ in rows]),
        targets_N=torch.tensor([token for *_, token in rows]),
        weights_N=torch.tensor([weights[i] for i, *_ in rows], dtype=torch.float64),
        owners_N=torch.tensor([i for i, *_ in rows]),
        real_tokens=len(rows),
        extra={BEHAVIOUR: torch.tensor([value for values in behaviour for value in values], dtype=torch.float64)},
    )


def everything(student: World) -> Batch:
    """All answers, each with its probability as its weight: a mean over them is the expectation."""
    logs_HV = student.log_probs_HV.detach()
    behaviour = [[float(logs_HV[at, token]) for at, token in enumerate(answer)] for answer in ANSWERS]
    return batch_of(ANSWERS, [student.said(answer).exp().item() for answer in ANSWERS], behaviour)


def gradient(student: World, loss: Tensor) -> Tensor:
    [found] = torch.autograd.grad(loss, student.table_VH)
    return found


def objective(teacher: World, **options: Any) -> PolicyGradient:
    return PolicyGradient(METHOD, Table(teacher), ReverseKL(), **options)


def losses(student: World, batch: Batch, objective: PolicyGradient) -> dict[str, Tensor]:
    return objective.losses(cast(Trainable, student), batch, WHOLE)


@pytest.fixture(params=[0, 1, 2])
def worlds(request: pytest.FixtureRequest) -> Iterator[tuple[World, World]]:
    yield World(10 + request.param), World(20 + request.param)


def test_the_expected_gradient_is_that_of_the_sequence_level_reverse_kl(worlds: tuple[World, World]) -> None:
    student, teacher = worlds
    logs = [(student.said(answer), teacher.said(answer).detach()) for answer in ANSWERS]
    sequence_kl = torch.stack([log_q.exp() * (log_q - log_p) for log_q, log_p in logs]).sum()
    found = losses(student, everything(student), objective(teacher, length_normalised=False))
    torch.testing.assert_close(gradient(student, found["loss"]), gradient(student, sequence_kl), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found["loss"].detach(), sequence_kl.detach())
    torch.testing.assert_close(found["reward"], -sequence_kl.detach())


def test_without_the_long_part_it_would_be_another_gradient(worlds: tuple[World, World]) -> None:
    """That is: the test above can fail."""
    student, teacher = worlds
    logs_HV, other_HV = student.log_probs_HV, teacher.log_probs_HV.detach()
    steps_H = (logs_HV.exp() * (logs_HV - other_HV)).sum(-1)
    single = torch.stack([student.said(answer).exp().detach() * steps_H[: len(answer)].sum() for answer in ANSWERS]).sum()
    found = losses(student, everything(student), objective(teacher, length_normalised=False))
    assert not torch.allclose(gradient(student, found["loss"]), gradient(student, single), rtol=1e-3)


@pytest.mark.parametrize("length_normalised", [True, False])
def test_nothing_moves_where_student_and_teacher_agree(length_normalised: bool) -> None:
    student, teacher = World(3), World(3)
    found = losses(student, everything(student), objective(teacher, length_normalised=length_normalised))
    assert found["loss"].item() == pytest.approx(0.0, abs=1e-12)
    assert float(gradient(student, found["loss"]).abs().max()) < 1e-12


def test_answers_drawn_by_another_distribution_weigh_as_if_they_were_the_students(worlds: tuple[World, World]) -> None:
    """One token long, so that the weights are exact: drawn from the mixture, the gradient's mean is the same."""
    student, teacher = worlds
    firsts: list[tuple[int, ...]] = [(END,), (GO_ON,)]
    q_V, p_V = student.log_probs_HV[0].exp().detach(), teacher.log_probs_HV[0].exp().detach()
    found = []
    for drawn_V in (q_V, 0.6 * q_V + 0.4 * p_V):
        batch = batch_of(firsts, drawn_V.tolist(), [[float(drawn_V[token].log())] for (token,) in firsts])
        found.append(gradient(student, losses(student, batch, objective(teacher))["loss"]))
    torch.testing.assert_close(found[0], found[1])


def test_padding_of_the_students_table_gets_no_gradient(worlds: tuple[World, World]) -> None:
    student, teacher = worlds
    batch = everything(student)
    plain = gradient(student, losses(student, batch, objective(teacher))["loss"])
    student.table_VH = torch.cat([student.table_VH.detach(), torch.full((2, 3), 5.0, dtype=torch.float64)]).requires_grad_()
    padded = gradient(student, losses(student, batch, objective(teacher))["loss"])
    torch.testing.assert_close(padded[:2], plain)
    assert not padded[2:].any()


def test_the_weight_of_a_token_scales_its_long_part_only(worlds: tuple[World, World]) -> None:
    student, teacher = worlds
    batch = everything(student)
    halved = replace(batch, extra={BEHAVIOUR: batch.extra[BEHAVIOUR] + torch.tensor(2.0).log()})
    doubled = replace(batch, extra={BEHAVIOUR: batch.extra[BEHAVIOUR] - torch.tensor(2.0).log()})
    half, whole, double = (gradient(student, losses(student, b, objective(teacher))["loss"]) for b in (halved, batch, doubled))
    torch.testing.assert_close(double - whole, 2 * (whole - half), rtol=1e-6, atol=1e-9)


def test_later_rewards_are_summed_or_averaged_within_their_example() -> None:
    reward_N, owners_N = torch.tensor([1.0, 2.0, 4.0, 8.0, 3.0, 5.0]), torch.tensor([0, 0, 0, 2, 3, 3])
    assert rewards_to_come(reward_N, owners_N, mean=False).tolist() == [6.0, 4.0, 0.0, 0.0, 5.0, 0.0]
    assert rewards_to_come(reward_N, owners_N, mean=True).tolist() == [3.0, 4.0, 0.0, 0.0, 5.0, 0.0]
    assert rewards_to_come(reward_N[:0], owners_N[:0], mean=True).tolist() == []


def test_micro_batches_add_up(worlds: tuple[World, World]) -> None:
    student, teacher = worlds
    whole = everything(student)
    parts = []
    for i in range(4):
        rows = whole.owners_N == i
        parts.append(
            replace(
                whole,
                examples=(str(i),),
                positions_N=whole.positions_N[rows],
                targets_N=whole.targets_N[rows],
                weights_N=whole.weights_N[rows],
                owners_N=torch.zeros_like(whole.owners_N[rows]),
                extra={BEHAVIOUR: whole.extra[BEHAVIOUR][rows]},
            )
        )
    of_whole = gradient(student, losses(student, whole, objective(teacher))["loss"])
    of_parts = sum(gradient(student, losses(student, part, objective(teacher))["loss"]) for part in parts)
    torch.testing.assert_close(of_parts, of_whole)


def test_the_datasets_windows_are_distilled_as_ever(worlds: tuple[World, World]) -> None:
    student, teacher = worlds
    batch = replace(everything(student), extra={})
    assert "ce_loss" in losses(student, batch, objective(teacher))


@pytest.mark.parametrize(
    "method", [WhiteBox(loss="forward_kl"), WhiteBox(loss="reverse_kl", features=(Feature(loss="hidden_states"),))]
)
def test_anything_but_the_reverse_kl_is_refused(method: WhiteBox) -> None:
    with pytest.raises(RecipeError, match="reverse KL"):
        PolicyGradient(method, Table(World(0)), ReverseKL())

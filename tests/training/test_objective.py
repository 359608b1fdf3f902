"""The two things with one owner each: which positions count, and what their sum is divided by.

Shapes: B examples, T positions, N supervised positions, V vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stillhouse.losses import LOSSES
from stillhouse.losses.forward_kl import ForwardKL
from stillhouse.method import WhiteBox
from stillhouse.students.causal import CausalStudent
from stillhouse.students.collating.decoder import collate_decoder
from stillhouse.tensors import Batch, Encoded, Head, Output, Wanted
from stillhouse.training.objective import Distillation, Objective, Window
from stillhouse.training.teachers.live import LiveTeacher
from tests.students.tiny import tiny_spec, write_tokenizer

V = 11
ROWS = [Encoded("a", (5, 6, 7, 8, 1), 3, 1.0), Encoded("b", (5, 9, 1), 1, 1.0)]


class Says:
    """A student that gives the scores it was made with: its states are the scores, and its head changes nothing."""

    def __init__(self, scores_BTV: Tensor) -> None:
        self.network = nn.ParameterDict({"scores_BTV": scores_BTV})

    @property
    def scores_BTV(self) -> Tensor:
        scores: Tensor = self.network["scores_BTV"]
        return scores

    @property
    def vocabulary_size(self) -> int:
        return self.scores_BTV.shape[-1]

    def output(self, batch: Batch, *, wanted: Wanted | None = None) -> Output:
        scores_NV = self.scores_BTV.flatten(0, 1).index_select(0, batch.positions_N)
        return Output(scores_NV, Head(torch.eye(scores_NV.shape[-1], dtype=scores_NV.dtype)))


def sums(objective: Objective, student: Any, given: Batch) -> dict[str, Tensor]:
    """Not divided, so that numbers are easy to follow."""
    return objective.losses(student, given, Window(1.0, 1.0))


def white_box(teacher: Any, temperature: float, share: float) -> Objective:
    return Distillation(WhiteBox(temperature=temperature, weight=share), LiveTeacher(teacher), ForwardKL())


def batch() -> Batch:
    return collate_decoder(ROWS, pad_id=0)


def noise(seed: int) -> Tensor:
    return torch.randn(2, 5, V, generator=torch.Generator().manual_seed(seed))


def test_a_network_that_says_the_next_token_has_no_loss() -> None:
    following_BT = batch().inputs["input_ids"].roll(-1, dims=1)
    network = Says(nn.functional.one_hot(following_BT, V).float() * 1e3)
    assert sums(Objective(), network, batch())["loss"].item() == 0


def test_a_network_that_repeats_the_token_it_sees_has() -> None:
    network = Says(nn.functional.one_hot(batch().inputs["input_ids"], V).float() * 1e3)
    assert sums(Objective(), network, batch())["loss"].item() == pytest.approx(4e3)


@pytest.mark.parametrize("taught", [False, True])
def test_prompt_and_padding_get_no_gradient(taught: bool) -> None:
    network = Says(noise(0))
    objective = white_box(Says(noise(1)), 2.0, 0.5) if taught else Objective()
    torch.autograd.backward(sums(objective, network, batch())["loss"])
    assert network.scores_BTV.grad is not None
    touched_BT = network.scores_BTV.grad.abs().sum(dim=-1) > 0
    assert touched_BT.tolist() == [[False, False, True, True, False], [True, True, False, False, False]]


def test_white_box_is_the_share_of_the_scaled_divergence_and_the_rest_cross_entropy() -> None:
    temperature, share = 3.0, 0.7
    student, teacher = Says(noise(0)), Says(noise(1))
    parts = sums(white_box(teacher, temperature, share), student, batch())
    positions = [(0, 2), (0, 3), (1, 0), (1, 1)]
    ours, theirs = (
        torch.stack([network.scores_BTV[at].double().detach() / temperature for at in positions]).log_softmax(-1)
        for network in (student, teacher)
    )
    divergence = float((theirs.exp() * (theirs - ours)).sum()) * temperature**2
    ce = sums(Objective(), student, batch())["loss"].item()
    assert parts["kd_loss"].item() == pytest.approx(divergence, rel=1e-5)
    assert parts["ce_loss"].item() == pytest.approx(ce, rel=1e-6)
    assert parts["loss"].item() == pytest.approx(share * divergence + (1 - share) * ce, rel=1e-5)


def test_a_student_that_equals_its_teacher_has_no_divergence() -> None:
    parts = sums(white_box(Says(noise(0)), 2.0, 1.0), Says(noise(0)), batch())
    assert parts["loss"].item() == pytest.approx(0, abs=1e-6)


def test_a_weight_counts_its_example_that_often() -> None:
    network = Says(noise(0))
    light = collate_decoder([ROWS[0], Encoded("b", (5, 9, 1), 1, 3.0)], pad_id=0)
    once, thrice = (sums(Objective(), network, given)["loss"].item() for given in (batch(), light))
    only_b = sums(Objective(), Says(noise(0)[1:, :3]), collate_decoder(ROWS[1:], pad_id=0))["loss"].item()
    assert thrice - once == pytest.approx(2 * only_b, rel=1e-5)


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("loss", [None, *(name for name in LOSSES.names() if name != "sampled")])  # that one draws anew
def test_cutting_a_window_into_micro_batches_changes_nothing(tmp_path: Path, parts: int, loss: str | None) -> None:
    """Answers of 1 to 7 tokens: averaging each micro-batch by itself would be far off."""
    spec = tiny_spec(write_tokenizer(tmp_path))
    student, teacher = CausalStudent.build(spec, seed=1), CausalStudent.build(spec, seed=2)
    objective = Objective()
    if loss is not None:
        method = WhiteBox(loss=loss, temperature=2.0, weight=0.5)
        objective = Distillation(method, LiveTeacher(teacher), LOSSES.resolve(loss)())
    rows = [Encoded(str(i), tuple(range(4, 9 + i)), 4 if i % 2 else 2 + i // 2, 1.0 + i) for i in range(7)]
    whole, cut = (_gradients(student, objective, rows, size) for size in (7, -(-7 // parts)))
    for name, gradient in whole.items():
        assert (gradient - cut[name]).abs().max() <= 1e-6, name


def _gradients(student: CausalStudent, objective: Objective, rows: list[Encoded], size: int) -> dict[str, Tensor]:
    student.network.zero_grad(set_to_none=True)
    batches = [collate_decoder(rows[start : start + size], student.pad_id) for start in range(0, len(rows), size)]
    for given in batches:
        torch.autograd.backward(objective.losses(student, given, Window.of(batches))["loss"])
    return {name: parameter.grad.clone() for name, parameter in student.network.named_parameters()}

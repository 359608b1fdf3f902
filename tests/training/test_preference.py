"""Pairs of a better and a worse answer: what is minimised, where its gradient goes, and that cutting a batch changes nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError
from stillhouse.formats.examples import fingerprint_of
from stillhouse.method import Preference
from stillhouse.students.causal import CausalStudent
from stillhouse.tensors import Encoded
from stillhouse.training.objective import Objective, Window
from stillhouse.training.preference import REFERENCE, Contrastive, DirectPreference, is_pair, paired, with_reference
from stillhouse.training.teachers.live import LiveTeacher
from tests.students.tiny import tiny_spec, write_tokenizer
from tests.training.runs import SHORT, check_resume, recipe, run, sums, teacher_folder, weights_hash, write_sums

torch.set_num_threads(1)

DPO = Preference(beta=0.5)


def student_of(folder: Path, *, seed: int = 0) -> CausalStudent:
    student = CausalStudent.build(tiny_spec(write_tokenizer(folder)), seed=seed)
    student.network.double().eval()
    return student


@pytest.fixture
def student(tmp_path: Path) -> CausalStudent:
    return student_of(tmp_path)


def corrected(count: int = 6) -> list[Example]:
    """Where an expert edited the answer: the edit is learnt, the teacher's is the worse one."""
    return [
        example.model_copy(update={"rejected": f"It is {i}.", "weight": 1.0 + i % 2}) for i, example in enumerate(sums()[:count])
    ]


def pairs_of(student: CausalStudent) -> list[Encoded]:
    return with_reference(student, paired(student, corrected(), max_tokens=200), batch_size=4)


def moved(student: CausalStudent, by: float = 0.1) -> CausalStudent:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in student.network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * by)
    return student


def loss_of(student: CausalStudent, objective: Objective, parts: Sequence[Sequence[Encoded]]) -> dict[str, Tensor]:
    batches = [student.collate(part) for part in parts]
    window = Window.of(batches)
    losses = [objective.losses(student, batch, window) for batch in batches]
    return {name: torch.stack([part[name] for part in losses]).sum() for name in losses[0]}


def gradient(student: CausalStudent, loss: Tensor) -> Tensor:
    student.network.zero_grad()
    torch.autograd.backward(loss)
    return torch.cat([p.grad.flatten() for p in student.network.parameters() if p.grad is not None])


def test_the_edit_is_the_better_answer_and_the_teachers_the_worse(student: CausalStudent) -> None:
    [pair, *_] = paired(student, corrected(), max_tokens=200)
    assert pair.partner is not None
    assert student.decode(pair.tokens[pair.answer_start :]) == corrected()[0].answer
    assert student.decode(pair.partner.tokens[pair.answer_start :]) == "It is 0."
    assert pair.tokens[: pair.answer_start] == pair.partner.tokens[: pair.answer_start]
    assert pair.length == len(pair.tokens) + len(pair.partner.tokens)


def test_examples_without_a_worse_answer_are_left_out_and_refused_where_there_are_no_others(student: CausalStudent) -> None:
    mixed = [*corrected(2), *sums()[2:5], sums()[7].model_copy(update={"rejected": sums()[7].answer})]
    assert [row.example for row in paired(student, mixed, max_tokens=200)] == [example.id for example in mixed[:2]]
    assert paired(student, [], max_tokens=200) == []
    with pytest.raises(RecipeError, match="None of the 3 examples has a worse answer"):
        paired(student, sums()[:3], max_tokens=200)
    assert [is_pair(example) for example in mixed[-2:]] == [False, False]


def test_a_worse_answer_changes_no_fingerprint_but_its_own(student: CausalStudent) -> None:
    plain = sums()[:3]
    assert b"rejected" not in plain[0].json_bytes()
    assert b'"rejected":"It is 0."' in corrected()[0].json_bytes()
    assert fingerprint_of(plain) != fingerprint_of([corrected()[0], *plain[1:]])
    assert Example.model_validate_json(corrected()[0].json_bytes()) == corrected()[0]


def test_better_answers_stand_before_worse_ones_in_the_order_of_their_pairs(student: CausalStudent) -> None:
    batch = student.collate(pairs_of(student)[:3])
    names = [example.id for example in corrected()[:3]]
    assert list(batch.examples) == names * 2
    assert batch.extra[REFERENCE].shape == batch.targets_N.shape


def test_dpo_is_log_2_at_the_start(student: CausalStudent) -> None:
    found = loss_of(student, DirectPreference(DPO), [pairs_of(student)])
    assert found["loss"].item() == pytest.approx(math.log(2), abs=1e-6)
    assert found["margin"].item() == pytest.approx(0.0, abs=1e-5)


def test_dpo_is_its_formula(student: CausalStudent) -> None:
    pairs = pairs_of(student)
    start = {}
    for when in ("before", "after"):
        for pair in pairs:
            for name, row in (("better", pair), ("worse", pair.partner)):
                assert row is not None
                with torch.no_grad():
                    scores_TV = student.network(torch.tensor([row.tokens])).logits[0].log_softmax(-1)
                said = torch.tensor(row.tokens[row.answer_start :])
                start[when, name, pair.example] = scores_TV[row.answer_start - 1 : -1].gather(-1, said[:, None]).sum().item()
        if when == "before":
            moved(student)
    expected = 0.0
    for pair in pairs:
        gain = {name: start["after", name, pair.example] - start["before", name, pair.example] for name in ("better", "worse")}
        expected += (
            pair.weight * math.log1p(math.exp(-0.5 * (gain["better"] - gain["worse"]))) / sum(each.weight for each in pairs)
        )
    assert loss_of(student, DirectPreference(DPO), [pairs])["loss"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["dpo", "contrastive"])
def test_the_gradient_is_that_of_finite_differences(student: CausalStudent, tmp_path: Path, kind: str) -> None:
    pairs = pairs_of(student)
    objective = objective_of(kind, tmp_path)
    moved(student)
    found = gradient(student, loss_of(student, objective, [pairs])["loss"])
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values = []
    flat = torch.nn.utils.parameters_to_vector(student.network.parameters()).detach().clone()
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            torch.nn.utils.vector_to_parameters(flat + step * direction, student.network.parameters())
            values.append(loss_of(student, objective, [pairs])["loss"].item())
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(float(found @ direction), rel=1e-3)


@pytest.mark.parametrize("kind", ["dpo", "contrastive"])
def test_how_a_window_is_cut_changes_nothing(student: CausalStudent, tmp_path: Path, kind: str) -> None:
    pairs = pairs_of(student)
    objective = objective_of(kind, tmp_path)
    moved(student)
    whole = loss_of(student, objective, [pairs])["loss"]
    of_whole = gradient(student, whole)
    for parts in ([pairs[:1], pairs[1:]], [pairs[:2], pairs[2:3], pairs[3:]], [[pair] for pair in reversed(pairs)]):
        cut = loss_of(student, objective, parts)["loss"]
        assert cut.item() == pytest.approx(whole.item(), rel=1e-6)
        torch.testing.assert_close(gradient(student, cut), of_whole, rtol=1e-6, atol=1e-9)


def test_prompts_and_padding_have_no_gradient(student: CausalStudent) -> None:
    pairs = pairs_of(student)
    seen: list[Tensor] = []

    def keep(module: object, args: object, result: Any) -> None:
        result.last_hidden_state.retain_grad()
        seen.append(result.last_hidden_state)

    with student.network.base_model.register_forward_hook(keep):
        torch.autograd.backward(loss_of(student, DirectPreference(DPO), [pairs])["loss"])
    [states_BTH] = seen
    assert states_BTH.grad is not None
    learnt_BT = states_BTH.grad.abs().sum(-1) > 0
    rows = [*pairs, *(pair.partner for pair in pairs if pair.partner is not None)]
    for learnt_T, row in zip(learnt_BT, rows, strict=True):
        answer = range(row.answer_start - 1, len(row.tokens) - 1)
        assert [at in answer for at in range(len(learnt_T))] == learnt_T.tolist()


def test_dpo_moves_the_better_up_against_the_worse(student: CausalStudent) -> None:
    pairs = pairs_of(student)
    optimizer = torch.optim.SGD(student.network.parameters(), lr=0.02)
    seen = []
    for _ in range(10):
        found = loss_of(student, DirectPreference(DPO), [pairs])
        optimizer.zero_grad()
        torch.autograd.backward(found["loss"])
        optimizer.step()
        seen.append(found["loss"].item())
    assert seen[-1] < seen[0] - 0.1
    assert loss_of(student, DirectPreference(DPO), [pairs])["preferred"].item() > 0.6


def test_contrastive_is_zero_where_the_student_is_the_teacher(student: CausalStudent, tmp_path: Path) -> None:
    teacher = student_of(tmp_path / "same")
    found = loss_of(student, Contrastive(Preference(loss="contrastive"), LiveTeacher(teacher)), [pairs_of(student)])
    assert found["loss"].item() == pytest.approx(0.0, abs=1e-9)
    assert {"skew_kl", "skew_reverse_kl"} <= set(found)


@pytest.mark.parametrize("kind", ["dpo", "contrastive"])
def test_an_interrupted_training_on_pairs_ends_with_the_same_weights(tmp_path: Path, kind: str) -> None:
    CausalStudent.build(tiny_spec(write_tokenizer(tmp_path / "tokenizer")), seed=9).save(tmp_path / "teacher")
    write_sums(tmp_path / "data", [*corrected(24), *sums()[24:40]])
    method = Preference.model_validate({"loss": kind})
    plan = recipe(tmp_path, method=method, steps=6, batch_size=3, accumulate=2)
    whole = run(plan, tmp_path / "data", tmp_path / "whole", teacher_folder=tmp_path / "teacher")
    run(plan, tmp_path / "data", tmp_path / "cut", teacher_folder=tmp_path / "teacher", stop_at=4)
    again = run(plan, tmp_path / "data", tmp_path / "cut", teacher_folder=tmp_path / "teacher")
    assert weights_hash(tmp_path / "cut") == weights_hash(tmp_path / "whole")
    assert again.curve[6] == whole.curve[6]


def objective_of(kind: str, folder: Path) -> Objective:
    if kind == "dpo":
        return DirectPreference(DPO)
    return Contrastive(Preference(loss="contrastive", alpha=0.1), LiveTeacher(moved(student_of(folder / "teacher", seed=1), 0.2)))


def test_pairs_are_learnt_from_and_resume_exactly(tmp_path: Path) -> None:
    pairs = [row.model_copy(update={"rejected": "The answer is 99."}) for row in sums()]
    write_sums(tmp_path / "pairs", pairs)
    cases: list[tuple[Preference, dict[str, Any]]] = [
        (Preference(), {}),
        (Preference(loss="contrastive"), {"teacher_folder": teacher_folder(tmp_path)}),
    ]
    for method, folders in cases:
        plan = recipe(tmp_path, method=method, **SHORT)
        check_resume(plan, tmp_path / "pairs", tmp_path / method.loss, **folders)

"""Weights for rationale and answer, the answer alone, two tasks: where the gradient goes, what a student is asked afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError
from stillhouse.method import BlackBox, StepByStep
from stillhouse.recipe import Recipe
from stillhouse.students.causal import CausalStudent
from stillhouse.students.seq2seq import Seq2SeqStudent
from stillhouse.training.objective import Objective, Window
from stillhouse.training.segments import encode_parts
from tests.students.tiny import TEMPLATE, tiny_spec, write_tokenizer
from tests.students.tiny_t5 import T5, t5_spec
from tests.training.runs import recipe, run, sums, write_sums

torch.set_num_threads(1)


def causal(root: Path) -> CausalStudent:
    return CausalStudent.build(tiny_spec(write_tokenizer(root)), seed=0)


def seq2seq(root: Path) -> Seq2SeqStudent:
    return Seq2SeqStudent.build(t5_spec(write_tokenizer(root, template=None), T5), seed=0)


KINDS: dict[str, Callable[[Path], Any]] = {"causal": causal, "seq2seq": seq2seq}


def examples() -> list[Example]:
    chat = Example(id="chat", messages=[{"role": "user", "content": "2+3"}], answer="2 and 3 are 5. The answer is 5.")
    token = Example(
        id="token",
        messages=[{"role": "user", "content": "1+1 ###"}],
        answer=" 1 and 1. --> 2",
        weight=2.0,
        metadata={"template": "ft_cot_token"},
    )
    return [chat, token]


def texts(student: Any, row: Any) -> tuple[str, str]:
    """What is read and what is taught, special tokens and the end left out."""
    if row.targets:
        return student.decode(row.tokens), student.decode(row.targets)
    return student.decode(row.tokens[: row.answer_start]), student.decode(row.tokens[row.answer_start :])


def row_losses(student: Any, rows: list[Any]) -> tuple[Tensor, Tensor]:
    """The objective's loss, and the gradient that reaches each supervised row's state."""
    batch = student.collate(rows)
    output = student.output(batch)
    states: list[Tensor] = []

    class Watched:
        def output(self, _: Any) -> Any:
            output.hidden_NH.retain_grad()
            states.append(output.hidden_NH)
            return output

    loss = Objective().losses(Watched(), batch, Window.of([batch]))["loss"]  # type: ignore[arg-type]
    torch.autograd.backward(loss)
    gradient = states[0].grad
    assert gradient is not None
    return loss.detach(), gradient.abs().sum(dim=-1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zeroed", ["rationale_weight", "answer_weight"])
def test_a_part_without_weight_has_no_gradient(tmp_path: Path, kind: str, zeroed: str) -> None:
    student = KINDS[kind](tmp_path)
    [row] = encode_parts(student, examples()[:1], BlackBox.model_validate({zeroed: 0.0}), max_tokens=200)
    _, gradient_N = row_losses(student, [row])
    border = len("2 and 3 are 5.")  # a token a letter
    silent = torch.arange(row.rows) < border
    silent = silent if zeroed == "rationale_weight" else ~silent
    assert bool((gradient_N[silent] == 0).all())
    assert bool((gradient_N[~silent] > 0).all())


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_those_of_the_tokens(tmp_path: Path, kind: str) -> None:
    """Weights 0.5 and 3 of the parts: the mean of the tokens' losses, each by its part and its example."""
    student = KINDS[kind](tmp_path)
    rows = encode_parts(student, examples(), BlackBox(rationale_weight=0.5, answer_weight=3.0), max_tokens=200)
    batch = student.collate(rows)
    borders = [len("2 and 3 are 5."), len(" 1 and 1. ")]
    expected = [
        weight * (0.5 if at < border else 3.0)
        for row, border, weight in zip(rows, borders, [1.0, 2.0], strict=True)
        for at in range(row.rows)
    ]
    torch.testing.assert_close(batch.weights_N, torch.tensor(expected))
    loss, _ = row_losses(student, rows)
    scores_NV = student.output(batch).scores_NV.detach()
    ce_N = torch.nn.functional.cross_entropy(scores_NV, batch.targets_N, reduction="none")
    assert loss.item() == pytest.approx(float((ce_N * batch.weights_N).sum() / batch.weights_N.sum()), rel=1e-4)
    plain = student.collate(encode_parts(student, examples(), BlackBox(), max_tokens=200))
    assert plain.weights_N.unique().tolist() == [1.0, 2.0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_alone_is_learnt_from_templates_too(tmp_path: Path, kind: str) -> None:
    student = KINDS[kind](tmp_path)
    rows = encode_parts(student, examples(), BlackBox(rationale=False), max_tokens=200)
    assert [texts(student, row)[1] for row in rows] == ["5", " 2"]


@pytest.mark.parametrize("kind", KINDS)
def test_step_by_step_is_two_texts_and_the_mean_of_each(tmp_path: Path, kind: str) -> None:
    """(label + lambda * rationale) / (1 + lambda), each the mean over its tokens (Hsieh et al. 2023, equations 3 and 4)."""
    student = KINDS[kind](tmp_path)
    method = BlackBox(step_by_step=StepByStep(weight=0.5))
    rows = encode_parts(student, examples()[:1], method, max_tokens=200)
    [row] = rows
    read, taught = texts(student, row)
    assert "[label] 2+3" in read and taught == "5"
    assert row.partner is not None
    read, taught = texts(student, row.partner)
    assert "[rationale] 2+3" in read and "[label]" not in read and taught == "2 and 3 are 5."
    loss, _ = row_losses(student, rows)
    batch = student.collate(rows)
    scores_NV = student.output(batch).scores_NV.detach()
    ce_N = torch.nn.functional.cross_entropy(scores_NV, batch.targets_N, reduction="none")
    means = [float(ce_N[batch.owners_N == owner].mean()) for owner in (0, 1)]
    assert loss.item() == pytest.approx((means[0] + 0.5 * means[1]) / 1.5, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_afterwards_it_asks_itself_for_the_label(tmp_path: Path, kind: str) -> None:
    student = KINDS[kind](tmp_path / "tokenizer")
    method = BlackBox(step_by_step=StepByStep())
    [row] = encode_parts(student, examples()[:1], method, max_tokens=200)
    again = encode_parts(student, examples()[:1], method, max_tokens=200)  # the valid split, or a base that was taught so
    assert again == [row]
    student.save(tmp_path / "saved")
    loaded = type(student).load(tmp_path / "saved")
    asked = [{"role": "system", "content": "Add."}, {"role": "user", "content": "9"}, {"role": "user", "content": "2+3"}]
    read = loaded.decode(loaded.prompt_ids(asked))
    assert read.endswith("[label] 2+3\n<a>") and "<u>9" in read if kind == "causal" else read == "[label] 2+3"
    alone = loaded.prompt_ids(asked[2:])
    assert alone == list(row.tokens[: row.answer_start])
    assert TEMPLATE not in read


def test_an_answer_without_a_rationale_is_a_label_alone(tmp_path: Path) -> None:
    example = examples()[0].model_copy(update={"answer": "The answer is 5."})
    [row] = encode_parts(causal(tmp_path), [example], BlackBox(step_by_step=StepByStep()), max_tokens=200)
    assert row.partner is None and sum(row.shares) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "options",
    [
        {"rationale_weight": 0.0, "answer_weight": 0.0},
        {"rationale": False, "answer_weight": 2.0},
        {"rationale": False, "step_by_step": {}},
        {"rationale_weight": 0.5, "step_by_step": {}},
    ],
)
def test_parts_that_cannot_be_weighed_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="weigh"):
        BlackBox.model_validate(options)


def test_students_that_give_labels_have_no_parts(tmp_path: Path) -> None:
    class Labels:
        kind, row_labels = "encoder", ("yes", "no")

    with pytest.raises(RecipeError, match="for students that write"):
        encode_parts(Labels(), examples(), BlackBox(answer_weight=2.0), max_tokens=9)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "method", [BlackBox(rationale_weight=0.25), BlackBox(step_by_step=StepByStep())], ids=["weights", "step by step"]
)
def test_the_ordinary_trainer_runs_them(tmp_path: Path, method: BlackBox) -> None:
    write_sums(tmp_path / "data", sums())
    wanted: Recipe = recipe(tmp_path, method=method, steps=2, accumulate=2, evaluate_every=2)
    log = run(wanted, tmp_path / "data", tmp_path / "work")
    assert {"train/loss", "eval/loss"} <= log.curve[2].keys()
    template = CausalStudent.load(tmp_path / "work" / "student").tokenizer.chat_template
    assert ("[label] " in template) == (method.step_by_step is not None)

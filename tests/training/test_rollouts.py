"""Windows of the student's own answers: which, what stands in them, and that an interrupted run says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.errors import RecipeError
from stillhouse.method import Rollouts, WhiteBox
from stillhouse.students.causal import CausalStudent
from stillhouse.tensors import Encoded
from stillhouse.training.feeds import DatasetFeed
from stillhouse.training.objective import BEHAVIOUR, Objective, Window
from stillhouse.training.order import Order
from stillhouse.training.rollouts import RolloutFeed
from tests.students.tiny import tiny_spec, write_tokenizer
from tests.training.runs import recipe, run, sums, weights_hash, write_sums

torch.set_num_threads(1)


@pytest.fixture
def student(tmp_path: Path) -> CausalStudent:
    return CausalStudent.build(tiny_spec(write_tokenizer(tmp_path / "tokenizer")), seed=0)


def fed(student: CausalStudent, *, seed: int = 3, max_tokens: int = 200, **rollouts: Any) -> RolloutFeed:
    rows = student.encode(sums()[:20], max_tokens=200)
    order = Order([row.length for row in rows], batch_size=3, accumulate=2, seed=0, bucket=True)
    options = Rollouts.model_validate({"share": 1.0, "max_tokens": 6, **rollouts})
    return RolloutFeed(DatasetFeed(rows, order), student, options, seed=seed, max_tokens=max_tokens)


def move(student: CausalStudent, seed: int) -> None:
    """What a step does to the weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in student.network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)


def walk(feed: RolloutFeed, student: CausalStudent, steps: range) -> list[list[list[Encoded]]]:
    windows = []
    for step in steps:
        windows.append(feed.window(step))
        move(student, step)
    return windows


def test_the_prompts_are_the_windows_and_the_answers_the_students(student: CausalStudent) -> None:
    feed = fed(student)
    asked, answered = feed._feed.window(0), feed.window(0)
    assert [[row.example for row in part] for part in answered] == [[row.example for row in part] for part in asked]
    for row, prompt in zip(sum(answered, []), sum(asked, []), strict=True):
        assert row.tokens[: row.answer_start] == prompt.tokens[: prompt.answer_start]
        said = row.tokens[row.answer_start :]
        assert 1 <= len(said) <= 6
        assert len(row.extra[BEHAVIOUR]) == len(said)


def test_the_share_of_the_steps_is_drawn_by_seed_and_step(student: CausalStudent) -> None:
    feed, other = fed(student, share=0.3), fed(student, share=0.3, seed=4)
    chosen = [feed.is_rollout(step) for step in range(2000)]
    assert chosen == [fed(student, share=0.3).is_rollout(step) for step in range(2000)]
    assert chosen != [other.is_rollout(step) for step in range(2000)]
    assert abs(sum(chosen) / 2000 - 0.3) < 0.05
    own, given = chosen.index(True), chosen.index(False)
    assert all(BEHAVIOUR in row.extra for part in feed.window(own) for row in part)
    assert feed.window(given) == feed._feed.window(given)


def test_an_answer_that_was_cut_off_teaches_no_end(student: CausalStudent) -> None:
    rows = [row for part in fed(student, max_tokens=200).window(0) for row in part]
    cut = [row for row in rows if len(row.tokens) - row.answer_start == 6]
    assert cut
    assert all(row.tokens[-1] != student.eos_id or student.eos_id not in row.tokens[row.answer_start : -1] for row in cut)
    batch = student.collate(rows)
    assert len(batch.targets_N) == sum(len(row.tokens) - row.answer_start for row in rows)


def test_trl_distillation_rows_are_counted_after_generation_not_in_the_dataset(student: CausalStudent) -> None:
    """TRL #6478: the denominator counted the dataset's labels."""
    parts = fed(student).window(0)
    window = Window.of([student.collate(part) for part in parts])
    assert window.rows == sum(len(row.tokens) - row.answer_start for part in parts for row in part)


@pytest.mark.parametrize("every", [1, 4])
def test_a_run_that_goes_on_in_the_middle_of_a_generated_block_says_the_same(tmp_path: Path, every: int) -> None:
    folder = write_tokenizer(tmp_path / "tokenizer")
    first, second = (CausalStudent.build(tiny_spec(folder), seed=0) for _ in range(2))
    whole = walk(fed(first, every=every, share=0.8), first, range(8))
    feed = fed(second, every=every, share=0.8)
    walk(feed, second, range(6))
    state = {name: tensor.clone() for name, tensor in feed.state().items()}
    again = fed(second, every=every, share=0.8)
    again.load_state(state)
    assert walk(again, second, range(6, 8)) == whole[6:]


def test_a_block_is_generated_before_its_first_step_and_not_again(student: CausalStudent) -> None:
    feed = fed(student, every=4)
    feed.window(0)
    before = feed.state()["tokens"].clone()
    move(student, 0)
    feed.window(3)
    assert torch.equal(feed.state()["tokens"], before)
    feed.window(4)
    assert feed.state()["steps"].tolist() == [4, 5, 6, 7]


def test_state_of_a_feed_that_has_not_generated_is_empty(student: CausalStudent) -> None:
    feed = fed(student)
    assert feed.state() == {}
    feed.load_state({})
    assert feed.window(0)


def test_trl_gkd_a_window_in_which_everything_came_out_empty_is_0_with_a_graph(student: CausalStudent) -> None:
    """TRL #5885: 0/0 = NaN where the completion was truncated away."""
    parts = fed(student, max_tokens=1).window(0)
    batches = [student.collate(part) for part in parts]
    assert all(len(row.tokens) == row.answer_start for part in parts for row in part)
    window = Window.of(batches)
    for batch in batches:
        loss = Objective().losses(student, batch, window)["loss"]
        assert loss.item() == 0
        torch.autograd.backward(loss)
    assert all(p.grad is None or not bool(p.grad.any()) for p in student.network.parameters())


@pytest.mark.parametrize(
    ("rollouts", "says"), [({"mix": 0.2}, "mix = 0"), ({"estimator": "policy-gradient", "top_p": 0.9}, "top_p = 1")]
)
def test_what_cannot_be_taught_is_refused(student: CausalStudent, rollouts: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        fed(student, **rollouts)


@pytest.mark.parametrize("estimator", ["distribution", "policy-gradient"])
def test_an_interrupted_training_on_rollouts_ends_with_the_same_weights(tmp_path: Path, estimator: str) -> None:
    teacher = CausalStudent.build(tiny_spec(write_tokenizer(tmp_path / "tokenizer")), seed=9)
    teacher.save(tmp_path / "teacher")
    write_sums(tmp_path / "data")
    rollouts = {"share": 0.7, "every": 4, "max_tokens": 5, "estimator": estimator, "mix": 0.2}
    method = WhiteBox.model_validate({"loss": "reverse_kl", "rollouts": rollouts})
    plan = recipe(tmp_path, method=method, steps=6, batch_size=4, accumulate=2)
    whole = run(plan, tmp_path / "data", tmp_path / "whole", teacher_folder=tmp_path / "teacher")
    run(plan, tmp_path / "data", tmp_path / "cut", teacher_folder=tmp_path / "teacher", stop_at=3)
    again = run(plan, tmp_path / "data", tmp_path / "cut", teacher_folder=tmp_path / "teacher")
    assert weights_hash(tmp_path / "cut") == weights_hash(tmp_path / "whole")
    assert again.curve[6] == whole.curve[6]

"""What a run refuses before it begins, by name; and the step whose loss is not a number."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.errors import RecipeError, TrainingError
from stillhouse.method import WhiteBox
from stillhouse.students.base import Trainable
from stillhouse.students.causal import CausalStudent
from stillhouse.tensors import Batch
from stillhouse.training import checkpoint as checkpoints
from stillhouse.training import train
from stillhouse.training.base import Job
from stillhouse.training.feeds import DatasetFeed
from stillhouse.training.objective import Objective, Window
from stillhouse.training.order import Order
from stillhouse.training.trainer import Trainer
from tests.students.tiny import tiny_spec, write_tokenizer
from tests.training.runs import Log, question, recipe, run, sums, teacher_folder, write_sums


@pytest.mark.parametrize("lengths", [{"steps": None}, {"steps": 3, "epochs": 1.0}])
def test_how_long_is_said_in_one_way(tmp_path: Path, lengths: dict[str, Any]) -> None:
    write_sums(tmp_path / "data")
    with pytest.raises(RecipeError, match="steps = 1000, or epochs = 3"):
        run(recipe(tmp_path, **lengths), tmp_path / "data", tmp_path / "work")


def test_a_teacher_that_cannot_give_the_signal_is_refused_before_any_step(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, method=WhiteBox())
    with pytest.raises(RecipeError, match="black-box"):
        run(plan, tmp_path / "data", tmp_path / "work")
    with pytest.raises(RecipeError, match="different tokenizers.*Give the student the teacher's tokenizer"):
        run(plan, tmp_path / "data", tmp_path / "work", teacher_folder=teacher_folder(tmp_path, letters="abc"))
    assert not (tmp_path / "work" / "checkpoints").exists()


def test_an_empty_answer_is_named(tmp_path: Path) -> None:
    write_sums(tmp_path / "data", [question("1+1", "2", "fine"), question("2+2", "", "empty-one")])
    with pytest.raises(TrainingError, match="empty-one"):
        run(recipe(tmp_path), tmp_path / "data", tmp_path / "work")


def test_a_long_example_is_named_and_not_cut(tmp_path: Path) -> None:
    write_sums(tmp_path / "data", [question("1+1", "2" * 50, "long-one")])
    with pytest.raises(RecipeError, match=r"long-one has 61 tokens.*training.max_tokens = 60.*at least 61"):
        run(recipe(tmp_path, max_tokens=60), tmp_path / "data", tmp_path / "work")
    with pytest.raises(RecipeError, match=r"long-one has 311 tokens.*256 positions"):
        write_sums(tmp_path / "longer", [question("1+1", "2" * 300, "long-one")])
        run(recipe(tmp_path), tmp_path / "longer", tmp_path / "work")


def test_a_dataset_without_train_examples_is_refused(tmp_path: Path) -> None:
    write_sums(tmp_path / "data", [row for row in sums() if row.split == "valid"])
    with pytest.raises(RecipeError, match="no train examples"):
        run(recipe(tmp_path), tmp_path / "data", tmp_path / "work")


def base_that_breaks_at_z(root: Path) -> Path:
    """A model whose embedding of `z` is not a number, as a damaged one could be."""
    student = CausalStudent.build(tiny_spec(write_tokenizer(root / "tokenizer"), tie_word_embeddings=False))
    with torch.no_grad():
        student.network.get_input_embeddings().weight[student.tokenizer.convert_tokens_to_ids("z")] = math.nan
    student.save(root / "base")
    return root / "base"


def test_a_number_that_is_not_finite_stops_the_run_before_the_step(tmp_path: Path) -> None:
    base = base_that_breaks_at_z(tmp_path)
    rows = [question(f"{i}", "yes", f"row-{i}") for i in range(7)] + [question("z", "no", "broken")]
    write_sums(tmp_path / "data", rows)
    plan = recipe(tmp_path, batch_size=2, accumulate=1, steps=4, checkpoint_every=1)
    plan = plan.model_copy(update={"student": plan.student.model_copy(update={"config": {}})})
    log = Log()
    with pytest.raises(TrainingError, match=r"The loss of step \d is not a finite number.*broken") as stopped:
        train(plan, tmp_path / "data", tmp_path / "work", report=log, base_folder=base)
    assert str(stopped.value).count("row-") == 1, "only the two examples of the batch are named"
    newest = checkpoints.newest_step(tmp_path / "work" / "checkpoints")
    assert newest == (max(log.curve) if log.curve else None)
    assert not (tmp_path / "work" / "student").exists()


def test_the_weights_are_untouched_by_a_step_that_was_stopped(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer")
    student = CausalStudent.build(tiny_spec(tmp_path / "tokenizer"))
    order = Order(range(2, 26), batch_size=8, accumulate=3, seed=0, bucket=False)
    feed = DatasetFeed(student.encode(sums()[:24], max_tokens=64), order)
    job = Job(recipe(tmp_path), tmp_path, tmp_path / "work", None, None, Log(), lambda: False)

    class Infinite(Objective):
        def losses(self, student: Trainable, batch: Batch, window: Window) -> dict[str, torch.Tensor]:
            return {"loss": sum(parameter.sum() for parameter in student.network.parameters()) * torch.tensor(math.inf)}

    before = {name: parameter.detach().clone() for name, parameter in student.network.named_parameters()}
    with pytest.raises(TrainingError, match="not a finite number"):
        Trainer(job, student, Infinite(), feed, [], "test").run()
    for name, parameter in student.network.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None

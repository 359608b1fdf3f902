"""A T5 teaches a smaller T5, through the trainer: it learns, from text and from the teacher, and goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.method import BlackBox, Feature, Method, WhiteBox
from stillhouse.recipe import Recipe
from stillhouse.students.seq2seq import Seq2SeqStudent
from tests.students.tiny import write_tokenizer
from tests.students.tiny_t5 import build, shake, t5_spec
from tests.training.runs import recipe, run, weights_hash, write_sums

SOFT = WhiteBox(temperature=2.0, weight=0.7)


def plan(root: Path, method: Method, **training: Any) -> Recipe:
    if not (root / "tokenizer").exists():
        write_tokenizer(root / "tokenizer", template=None)
    return recipe(root, method=method, **training).model_copy(update={"student": t5_spec(root / "tokenizer")})


def teacher(root: Path) -> Path:
    """A wider T5 with random weights."""
    built = build(root, d_model=24, num_layers=1)
    shake(built, 0.1)
    built.save(root / "teacher")
    return root / "teacher"


@pytest.mark.parametrize("method", [BlackBox(), SOFT], ids=["text", "teacher"])
def test_a_stopped_run_goes_on_exactly(tmp_path: Path, method: Method) -> None:
    write_sums(tmp_path / "data")
    chosen, data, folder = plan(tmp_path, method), tmp_path / "data", teacher(tmp_path)
    whole = run(chosen, data, tmp_path / "whole", teacher_folder=folder)
    first = run(chosen, data, tmp_path / "parts", stop_at=7, teacher_folder=folder)
    second = run(chosen, data, tmp_path / "parts", teacher_folder=folder)
    assert {**first.curve, **second.curve} == whole.curve
    assert len(whole.curve) == 12
    assert weights_hash(tmp_path / "parts") == weights_hash(tmp_path / "whole")
    assert Seq2SeqStudent.load(tmp_path / "whole" / "student").answer([[{"role": "user", "content": "1+1"}]])


def test_it_learns_the_answers(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    training = {"steps": 60, "batch_size": 16, "accumulate": 1, "dropout": 0.0, "learning_rate": 1e-2, "evaluate_every": 60}
    log = run(plan(tmp_path, BlackBox(), **training), tmp_path / "data", tmp_path / "work")
    assert log.curve[60]["train/loss"] < 0.5 * log.curve[1]["train/loss"]


def test_it_comes_closer_to_the_teacher(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    training = {"steps": 60, "batch_size": 16, "accumulate": 1, "dropout": 0.0, "learning_rate": 1e-2, "evaluate_every": 60}
    method = WhiteBox(temperature=2.0, weight=1.0)
    log = run(plan(tmp_path, method, **training), tmp_path / "data", tmp_path / "work", teacher_folder=teacher(tmp_path))
    assert log.curve[60]["train/kd_loss"] < 0.5 * log.curve[1]["train/kd_loss"]
    assert log.curve[60]["train/kd_loss"] >= 0


def test_the_encoders_inner_states_can_be_compared(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    method = SOFT.model_copy(update={"features": (Feature(loss="hidden_states", weight=1.0),)})
    log = run(plan(tmp_path, method, steps=2), tmp_path / "data", tmp_path / "work", teacher_folder=teacher(tmp_path))
    assert any("hidden_states" in name for name in log.curve[1])


def test_its_own_average_teaches_it(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    log = run(plan(tmp_path, SOFT.model_copy(update={"source": "ema"}), steps=3), tmp_path / "data", tmp_path / "work")
    assert torch.isfinite(torch.tensor(log.curve[3]["train/kd_loss"]))

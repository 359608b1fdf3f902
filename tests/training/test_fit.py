"""A linear student, from folders to a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stillhouse.dataset import Example, Split
from stillhouse.errors import RecipeError, TrainingError, UsageError
from stillhouse.method import BlackBox, WhiteBox
from stillhouse.recipe import Recipe, Student, Training
from stillhouse.students.linear import LinearStudent
from stillhouse.training import train
from tests.training.runs import Log, run, write_sums

SPLIT_OF: dict[int, Split] = {3: "valid"}


def rows(answer: str = "{}") -> list[Example]:
    texts = {
        "card": ("lost my card", "card gone", "where is the card", "my card?"),
        "pin": ("new pin", "pin lost", "the pin", "pin?"),
    }
    return [
        Example(
            id=f"{label}-{i}",
            messages=[{"role": "user", "content": text}],
            answer=answer.format(label),
            split=SPLIT_OF.get(i, "train"),
        )
        for label, them in texts.items()
        for i, text in enumerate(them)
    ]


def plan(**changes: Any) -> Recipe:
    return Recipe(name="intents", student=Student(kind="linear", config={"words": [1, 1]})).model_copy(update=changes)


def test_a_linear_student_is_an_artifact_like_any_other(tmp_path: Path) -> None:
    write_sums(tmp_path / "data", rows(" {}\n"))
    log = run(plan(), tmp_path / "data", tmp_path / "work")
    assert log.curve[1].keys() == {f"{split}/{what}" for split in ("train", "eval") for what in ("loss", "token_accuracy")} | {
        "eval/accuracy"
    }
    assert (log.curve[1]["eval/accuracy"], log.curve[1]["eval/token_accuracy"], log.curve[1]["train/token_accuracy"]) == (1, 1, 1)
    assert 0 < log.curve[1]["train/loss"] < 0.7  # two labels by chance: log 2
    student = LinearStudent.load(tmp_path / "work" / "student")
    assert student.answer([[{"role": "user", "content": "card"}]]) == ["card"]
    manifest = json.loads((tmp_path / "work" / "student" / "artifact.json").read_bytes())
    assert (manifest["kind"], manifest["parameters"]) == ("linear", student.parameters)


def test_it_learns_final_answers_where_the_recipe_says_so(tmp_path: Path) -> None:
    write_sums(tmp_path / "data", rows("It speaks of it. The answer is {}."))
    run(plan(method=BlackBox(rationale=False)), tmp_path / "data", tmp_path / "work")
    assert LinearStudent.load(tmp_path / "work" / "student").labels == ["card", "pin"]


def test_asked_to_stop_it_does_not_begin(tmp_path: Path) -> None:
    write_sums(tmp_path / "data", rows())
    assert train(plan(), tmp_path / "data", tmp_path / "work", report=Log(), should_stop=lambda: True) is None
    assert not (tmp_path / "work" / "student").exists()


def test_what_it_cannot_learn_is_named(tmp_path: Path) -> None:
    write_sums(tmp_path / "data", [*rows(), rows()[0].model_copy(update={"id": "empty-one", "answer": " "})])
    with pytest.raises(TrainingError, match="empty-one"):
        run(plan(), tmp_path / "data", tmp_path / "work")
    with pytest.raises(RecipeError, match="black-box"):
        run(plan(method=WhiteBox()), tmp_path / "data", tmp_path / "work")
    with pytest.raises(RecipeError, match=r"fitted in one go, without steps: leave \[training\] average out"):
        run(plan(training=Training(steps=1, average=0.9)), tmp_path / "data", tmp_path / "work")
    with pytest.raises(UsageError, match="There is no student kind 'forest'. There are: causal, .*linear"):
        run(plan(student=Student(kind="forest")), tmp_path / "data", tmp_path / "work")

"""What a training run does, seen from outside: folders in, reports and a student out."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.artifacts import load_manifest
from stillhouse.dataset import Example
from stillhouse.errors import RecipeError
from stillhouse.files import hash_file
from stillhouse.method import BlackBox, Preference, WhiteBox
from stillhouse.recipe import Recipe
from stillhouse.students.causal import CausalStudent
from tests.students.tiny import tiny_spec, write_tokenizer
from tests.training.runs import SHORT, check_resume, question, recipe, run, sums, teacher_folder, weights_hash, write_sums


def test_a_student_learns_what_it_is_shown_and_is_an_artifact(tmp_path: Path) -> None:
    rows = [question("1+1", "two", "a"), question("2+2", "four", "b"), question("2+3", "five", "c")]
    dataset = write_sums(tmp_path / "data", rows, may_train={"openai": "yes"})
    plan = recipe(tmp_path, steps=80, batch_size=3, accumulate=1, dropout=0.0, learning_rate=2e-2, checkpoint_every=80)
    log = run(plan, tmp_path / "data", tmp_path / "work")
    student = CausalStudent.load(tmp_path / "work" / "student")
    assert student.answer([row.messages for row in rows], max_tokens=8) == ["two", "four", "five"]
    assert log.curve[1]["train/loss"] == pytest.approx(math.log(104), rel=0.2)
    assert log.curve[80]["train/loss"] < 0.05
    manifest = json.loads((tmp_path / "work" / "student" / "artifact.json").read_bytes())
    assert manifest["kind"] == "causal"
    assert manifest["dataset"] == dataset.fingerprint
    assert manifest["may_train"] == {"openai": "yes"}
    assert manifest["parameters"] == student.parameters
    assert manifest["metrics"]["train/loss"] == log.curve[80]["train/loss"]
    assert Recipe.model_validate(manifest["recipe"]) == plan


def test_every_step_reports_its_numbers(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    log = run(recipe(tmp_path, steps=4, evaluate_every=2), tmp_path / "data", tmp_path / "work")
    each = {"train/loss", "train/token_accuracy", "train/learning_rate", "train/grad_norm", "train/tokens"}
    watched = each | {"eval/loss", "eval/token_accuracy"}
    assert [set(log.curve[step]) for step in (1, 2, 3, 4)] == [each, watched, each, watched]


def test_token_accuracy_is_the_share_of_answers_tokens_that_are_likeliest(tmp_path: Path) -> None:
    rows = [row.model_copy(update={"split": "train" if i < 6 else "valid"}) for i, row in enumerate(sums()[:9])]
    write_sums(tmp_path / "data", rows)
    plan = recipe(tmp_path, steps=6, batch_size=6, accumulate=1, dropout=0.0, evaluate_every=6)
    log = run(plan, tmp_path / "data", tmp_path / "work")
    student = CausalStudent.load(tmp_path / "work" / "student")
    batch = student.collate(student.encode(rows[6:], max_tokens=256))
    scores_NV = student.output(batch).scores_NV
    right = float((scores_NV.argmax(dim=-1) == batch.targets_N).float().mean())
    assert 0 < right < 1 and log.curve[6]["eval/token_accuracy"] == pytest.approx(right)
    tokens = sum(row.length for row in student.encode(rows[:6], max_tokens=256))
    assert [log.curve[step]["train/tokens"] for step in (1, 6)] == [tokens, 6 * tokens]


@pytest.mark.parametrize("average", [None, 0.5])
def test_the_student_is_kept_at_the_ends_of_the_last_epochs(tmp_path: Path, average: float | None) -> None:
    """And is what a run of so many steps makes; that it is kept changes nothing, interrupted or not."""
    write_sums(tmp_path / "data")
    same: dict[str, Any] = {"batch_size": 30, "accumulate": 1, "schedule": "constant", "warmup": 0.0, "average": average}
    whole = recipe(tmp_path, steps=None, epochs=4, **same)
    run(whole, tmp_path / "data", tmp_path / "plain")
    run(whole, tmp_path / "data", tmp_path / "kept", stop_at=7, keep_epochs=3)
    run(whole, tmp_path / "data", tmp_path / "kept", keep_epochs=3)
    run(recipe(tmp_path, steps=6, **same), tmp_path / "data", tmp_path / "short")
    assert sorted(path.name for path in (tmp_path / "kept" / "epochs").iterdir()) == ["step-6", "step-9"]
    kept = tmp_path / "kept" / "epochs" / "step-6"
    assert hash_file(kept / "model.safetensors") == weights_hash(tmp_path / "short")
    assert weights_hash(tmp_path / "kept") == weights_hash(tmp_path / "plain")
    assert load_manifest(kept).metrics["eval/loss"] > 0


@pytest.mark.parametrize("paired", [False, True])
def test_how_the_valid_split_is_cut_changes_nothing(tmp_path: Path, paired: bool) -> None:
    """Weights and lengths differ, and one batch counts for nothing: a mean of the batches' means would be far off."""
    rows = [
        row.model_copy(update={"weight": float(i % 4 if row.split == "valid" else 1), "rejected": "No." if paired else None})
        for i, row in enumerate(sums())
    ]
    write_sums(tmp_path / "data", rows)
    method = Preference() if paired else BlackBox()
    said = [
        run(
            recipe(tmp_path, method=method, steps=1, dropout=0.0, batch_size=size, accumulate=24 // size),
            tmp_path / "data",
            tmp_path / str(size),
        ).curve[1]["eval/loss"]
        for size in (1, 24)
    ]
    assert said[0] == pytest.approx(said[1], rel=1e-4)


def test_epochs_are_counted_in_windows(tmp_path: Path) -> None:
    """90 examples in windows of 24: four steps an epoch, the last of 18."""
    write_sums(tmp_path / "data")
    log = run(recipe(tmp_path, steps=None, epochs=1.5), tmp_path / "data", tmp_path / "work")
    assert max(log.curve) == 6


def test_micro_batches_of_any_size_give_the_same_student(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    curves = [
        run(
            recipe(tmp_path, steps=4, dropout=0.0, batch_size=size, accumulate=24 // size),
            tmp_path / "data",
            tmp_path / f"by-{size}",
        ).curve
        for size in (24, 12, 6)
    ]
    for step in (1, 2, 3, 4):
        whole, *others = (curve[step]["train/loss"] for curve in curves)
        assert others == pytest.approx([whole, whole], abs=2e-6)


def test_the_control_learns_the_final_answer_alone(tmp_path: Path) -> None:
    reasoned = [question("1+1", "One and one. The answer is 2.")]
    alone = [question("1+1", "2")]
    hashes = []
    for name, rows, rationale in (("reasoned", reasoned, False), ("alone", alone, True)):
        write_sums(tmp_path / name, rows)
        run(recipe(tmp_path, steps=2, method=BlackBox(rationale=rationale)), tmp_path / name, tmp_path / f"{name}-work")
        hashes.append(weights_hash(tmp_path / f"{name}-work"))
    assert hashes[0] == hashes[1]


def test_plain_text_is_learnt_without_a_chat_template(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer", template=None)
    write_sums(tmp_path / "data", [Example(id="t", messages=[], answer="the cat sat on the mat")])
    log = run(recipe(tmp_path, steps=60, dropout=0.0, learning_rate=2e-2), tmp_path / "data", tmp_path / "work")
    assert log.curve[60]["train/loss"] < 1 < log.curve[1]["train/loss"]


def test_a_student_starts_from_its_base(tmp_path: Path) -> None:
    base = CausalStudent.build(tiny_spec(write_tokenizer(tmp_path / "tokenizer")), seed=9)
    base.save(tmp_path / "base")
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, steps=1, learning_rate=1e-9)
    plan = plan.model_copy(update={"student": plan.student.model_copy(update={"config": {}, "tokenizer": None})})
    run(plan, tmp_path / "data", tmp_path / "work", base_folder=tmp_path / "base")
    student = CausalStudent.load(tmp_path / "work" / "student")
    for (name, ours), (_, theirs) in zip(student.network.named_parameters(), base.network.named_parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6), name


def test_a_white_box_student_comes_closer_to_its_teacher(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, steps=30, dropout=0.0, accumulate=1, method=WhiteBox(temperature=2.0, weight=1.0))
    log = run(plan, tmp_path / "data", tmp_path / "work", teacher_folder=teacher_folder(tmp_path))
    assert {"train/kd_loss", "train/ce_loss"} <= set(log.curve[1])
    assert log.curve[30]["train/kd_loss"] < log.curve[1]["train/kd_loss"] / 3
    assert log.curve[30]["eval/loss"] < log.curve[4]["eval/loss"]


def test_a_white_box_run_resumes_exactly(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, method=WhiteBox(temperature=2.0))
    check_resume(plan, tmp_path / "data", tmp_path, stop_at=5, teacher_folder=teacher_folder(tmp_path))


def test_listing_what_there_is_and_importing_train_takes_no_torch() -> None:
    code = (
        "import sys; from stillhouse.training import TRAINERS, train; from stillhouse.losses import LOSSES; "
        "from stillhouse.students import STUDENTS; assert TRAINERS.names() == STUDENTS.names() and LOSSES.names(); "
        "sys.exit(bool({'torch', 'transformers', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_weights_that_are_frozen_stay_as_they_are(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, **{**SHORT, "frozen": ["*embed_tokens*"]})
    run(plan, tmp_path / "data", tmp_path / "work")
    begun = CausalStudent.build(plan.student, seed=0).network.get_input_embeddings().weight
    student = CausalStudent.load(tmp_path / "work" / "student").network
    assert torch.equal(student.get_input_embeddings().weight, begun)
    with pytest.raises(RecipeError, match=r"no weight is called 'colour'"):
        run(recipe(tmp_path, **{**SHORT, "frozen": ["colour"]}), tmp_path / "data", tmp_path / "no")
    with pytest.raises(RecipeError, match="leaves nothing to train"):
        run(recipe(tmp_path, **{**SHORT, "frozen": ["*"]}), tmp_path / "data", tmp_path / "none")

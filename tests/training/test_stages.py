"""A run in stages: they follow each other, share what they compare, and resume exactly."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillhouse.method import Feature, WhiteBox
from stillhouse.recipe import Stage
from tests.training.runs import SHORT, check_resume, recipe, teacher_folder, write_sums


def test_stages_follow_each_other_and_resume_exactly(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    stages = (Stage(share=0.5, method={"weight": 1.0, "temperature": 4.0}), Stage(share=0.5, method={"loss": "reverse_kl"}))
    plan = recipe(tmp_path, method=WhiteBox(), **SHORT).model_copy(update={"stages": stages})
    whole = check_resume(plan, tmp_path / "data", tmp_path, teacher_folder=teacher_folder(tmp_path))
    assert [whole.curve[step]["train/stage"] for step in range(1, 7)] == [0, 0, 0, 1, 1, 1]


def test_shares_that_do_not_make_a_run_are_refused(tmp_path: Path) -> None:
    plan = recipe(tmp_path, method=WhiteBox())
    with pytest.raises(ValueError, match=r"must make 1, and they make 0.5"):
        type(plan).model_validate({**plan.model_dump(), "stages": [{"share": 0.5}]})
    with pytest.raises(ValueError, match="colour"):
        type(plan).model_validate({**plan.model_dump(), "stages": [{"share": 1.0, "method": {"colour": 1}}]})


def test_stages_that_compare_the_same_states_share_teacher_and_projections(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    features = (Feature(loss="hidden_states"),)
    stages = (Stage(share=0.5, method={"loss": "none", "weight": 1.0}), Stage(share=0.5, method={"weight": 0.5}))
    plan = recipe(tmp_path, method=WhiteBox(features=features), **SHORT).model_copy(update={"stages": stages})
    whole = check_resume(plan, tmp_path / "data", tmp_path, stop_at=2, teacher_folder=teacher_folder(tmp_path))
    assert whole.curve[4]["train/hidden_states"] < whole.curve[1]["train/hidden_states"]

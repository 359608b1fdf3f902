"""Before training: terms that forbid it are kept unless they are overridden by name, the teacher's like the dataset's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stillhouse.artifacts import load_manifest, write_manifest
from stillhouse.errors import PermissionRefusedError
from stillhouse.method import WhiteBox
from stillhouse.recipe import Teacher
from tests.training.runs import recipe, run, teacher_folder, write_sums


def test_terms_that_forbid_training_are_kept_unless_overridden_by_name(tmp_path: Path) -> None:
    write_sums(tmp_path / "data", may_train={"acme": "no: section 2.c", "other": "yes"})
    with pytest.raises(PermissionRefusedError, match=r"'acme'.*section 2.c.*allow_training"):
        run(recipe(tmp_path, steps=1), tmp_path / "data", tmp_path / "work")
    plan = recipe(tmp_path, steps=1, teacher=Teacher(allow_training=("acme", "other")))
    run(plan, tmp_path / "data", tmp_path / "work")
    assert json.loads((tmp_path / "work" / "student" / "artifact.json").read_bytes())["overridden"] == ["acme"]


def test_the_terms_behind_a_white_box_teacher_count_like_the_datasets(tmp_path: Path) -> None:
    write_sums(tmp_path / "data", may_train={"other": "yes"})
    teacher = teacher_folder(tmp_path)
    write_manifest(teacher, kind="causal", parameters=1, may_train={"acme": "no: section 2.c", "other": "yes"})
    plan = recipe(tmp_path, steps=1, method=WhiteBox())
    with pytest.raises(PermissionRefusedError, match=r"teacher was trained on.*'acme'.*section 2.c.*allow_training"):
        run(plan, tmp_path / "data", tmp_path / "work", teacher_folder=teacher)
    plan = plan.model_copy(update={"teacher": Teacher(allow_training=("acme",))})
    run(plan, tmp_path / "data", tmp_path / "work", teacher_folder=teacher)
    made = load_manifest(tmp_path / "work" / "student")
    assert (made.may_train, made.overridden) == ({"acme": "no: section 2.c", "other": "yes"}, ("acme",))

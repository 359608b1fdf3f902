"""A run that learns from a cache and is stopped goes on to the same weights; nothing depends on when the cache was made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stillhouse.losses import LOSSES
from stillhouse.method import Cache, WhiteBox
from stillhouse.recipe import Teacher
from stillhouse.students.base import Trainable
from stillhouse.students.causal import CausalStudent
from stillhouse.tensors import Encoded
from stillhouse.training.base import Job
from stillhouse.training.caching import ensure_cache, entry_of, key_of
from stillhouse.training.objective import Distillation
from stillhouse.training.teachers.cached import CachedTeacher
from tests.students.tiny import tiny_spec, write_tokenizer
from tests.training.runs import recipe, run, weights_hash, write_sums

METHODS = {
    "hidden": WhiteBox(source="cache", temperature=2.0),
    "logits": WhiteBox(source="cache", cache=Cache(tier="logits"), loss="jensen_shannon"),
    "top_k": WhiteBox(source="cache", cache=Cache(tier="top_k", k=6), loss="top_k"),
    "sampled": WhiteBox(source="cache", cache=Cache(tier="sampled", samples=20), loss="sampled"),
}


@pytest.mark.parametrize("tier", METHODS)
def test_a_stopped_run_goes_on_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tier: str) -> None:
    write_sums(tmp_path / "data")
    write_tokenizer(tmp_path / "tokenizer")
    CausalStudent.build(tiny_spec(tmp_path / "tokenizer", hidden_size=48), seed=7).save(tmp_path / "teacher")
    method = METHODS[tier]
    asked: list[str] = []

    def objective(job: Job, student: Trainable, rows: Sequence[Encoded] = ()) -> Distillation:
        def load() -> Trainable:
            asked.append(str(job.work))
            return CausalStudent.load(tmp_path / "teacher")

        key = key_of(method, tokenizer=student.tokenizer_hash(), teacher="sha256:of-the-test")
        assert job.signals_folder is not None
        reader = ensure_cache(job.signals_folder, key, rows, load)
        assert reader is not None
        return Distillation(method, CachedTeacher(reader, map(entry_of, rows)), LOSSES.resolve(method.loss)())

    monkeypatch.setattr("stillhouse.training.beginning.objective_of", objective)
    plan = recipe(tmp_path, method=method, teacher=Teacher(model="teacher"), steps=8)
    folders: dict[str, Any] = {"teacher_folder": tmp_path / "teacher", "signals_folder": tmp_path / "signals"}
    whole = run(plan, tmp_path / "data", tmp_path / "whole", **folders)
    first = run(plan, tmp_path / "data", tmp_path / "parts", stop_at=3, **folders)
    second = run(plan, tmp_path / "data", tmp_path / "parts", **folders)
    assert asked == [str(tmp_path / "whole")]
    assert {**first.curve, **second.curve} == whole.curve
    assert len(whole.curve) == 8
    assert weights_hash(tmp_path / "parts") == weights_hash(tmp_path / "whole")
    run(plan, tmp_path / "data", tmp_path / "again", **{**folders, "signals_folder": tmp_path / "other"})
    assert weights_hash(tmp_path / "again") == weights_hash(tmp_path / "whole")

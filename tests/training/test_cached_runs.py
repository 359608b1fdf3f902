"""A run that learns from stored signals and is stopped goes on to the same weights; nothing depends on when they were stored."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.artifacts import register
from stillhouse.errors import StoreError
from stillhouse.formats.examples import read_examples
from stillhouse.method import Cache, Feature, WhiteBox
from stillhouse.recipe import Recipe, Student, Teacher
from stillhouse.signals import caches
from stillhouse.students.causal import CausalStudent
from stillhouse.training import train
from stillhouse.training.logprobs import keep_said
from tests.students.tiny import tiny_spec, write_tokenizer
from tests.training.runs import SHORT, Log, check_resume, recipe, run, teacher_folder, weights_hash, write_sums

METHODS = {
    "hidden": WhiteBox(source="cache", temperature=2.0),
    "hidden, with states": WhiteBox(
        source="cache", cache=Cache(states=True), features=(Feature(loss="hidden_states"), Feature(loss="pooled"))
    ),
    "logits": WhiteBox(source="cache", cache=Cache(tier="logits"), loss="jensen_shannon"),
    "top_k": WhiteBox(source="cache", cache=Cache(tier="top_k", k=6), loss="top_k"),
    "sampled": WhiteBox(source="cache", cache=Cache(tier="sampled", samples=20), loss="sampled"),
    "api": WhiteBox(source="api", loss="top_k"),
}


class Bench:
    """Sums, a teacher of them, and what an API said of each answer."""

    def __init__(self, root: Path, method: WhiteBox) -> None:
        self.root = root
        dataset = write_sums(root / "data")
        write_tokenizer(root / "tokenizer")
        CausalStudent.build(tiny_spec(root / "tokenizer", hidden_size=48), seed=7).save(root / "teacher")
        self.recipe: Recipe = recipe(root, method=method, teacher=Teacher(model="teacher"), steps=8)
        if method.source == "api":
            examples = [example for split in ("train", "valid") for example in read_examples(root / "data", split)]
            said = [(example, [_letter(letter) for letter in example.answer]) for example in examples]
            for signals in ("signals", "other"):
                keep_said(root / signals, dataset.fingerprint, root / "tokenizer", said)

    def run(self, work: str, *, signals: str = "signals", **options: Any) -> Log:
        folders: dict[str, Any] = {"teacher_folder": self.root / "teacher", "signals_folder": self.root / signals}
        return run(self.recipe, self.root / "data", self.root / work, **folders, **options)


def _letter(letter: str) -> dict[str, Any]:
    others = [{"token": other, "logprob": math.log(0.1)} for other in "ab!"]
    return {"token": letter, "logprob": math.log(0.5), "top_logprobs": others}


@pytest.mark.parametrize("source", METHODS)
def test_a_stopped_run_goes_on_exactly(tmp_path: Path, source: str) -> None:
    bench = Bench(tmp_path, METHODS[source])
    whole = bench.run("whole")
    first, second = bench.run("parts", stop_at=3), bench.run("parts")
    assert {**first.curve, **second.curve} == whole.curve
    assert len(whole.curve) == 8
    assert weights_hash(tmp_path / "parts") == weights_hash(tmp_path / "whole")
    assert len(caches(tmp_path / "signals")) == 1
    bench.run("again", signals="other")
    assert weights_hash(tmp_path / "again") == weights_hash(tmp_path / "whole")


def test_a_cache_is_built_once_and_read_by_every_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path, METHODS["hidden"])
    first = bench.run("first")
    assert any("examples to ask" in message for message in first.messages)
    [cache] = caches(tmp_path / "signals")
    second = bench.run("second")
    assert not any("examples to ask" in message for message in second.messages)
    assert caches(tmp_path / "signals") == [cache]
    assert second.curve == first.curve


def test_a_run_that_is_stopped_while_its_cache_is_built_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stillhouse.training.caching.TOKENS", 300)
    bench = Bench(tmp_path, METHODS["sampled"])
    whole = bench.run("whole", signals="other")
    stopped = bench.run("parts", stop_at=0)
    assert stopped.curve == {}
    assert not (tmp_path / "parts" / "student").exists()
    assert bench.run("parts").curve == whole.curve
    assert weights_hash(tmp_path / "parts") == weights_hash(tmp_path / "whole")


@pytest.mark.parametrize("tier", ["hidden", "top_k", "sampled"])
def test_a_cached_teacher_is_asked_once_and_resumes_exactly(tmp_path: Path, tier: str) -> None:
    loss = {"hidden": "forward_kl", "top_k": "top_k", "sampled": "sampled"}[tier]
    method = WhiteBox(loss=loss, source="cache", cache=Cache.model_validate({"tier": tier, "k": 8}))
    folders: dict[str, Any] = {"teacher_folder": teacher_folder(tmp_path), "signals_folder": tmp_path / "signals"}
    write_sums(tmp_path / "data")
    log = check_resume(recipe(tmp_path, method=method, **SHORT), tmp_path / "data", tmp_path, **folders)
    assert any("teacher's cache" in message for message in log.messages)


def test_a_cache_keeps_the_states_that_features_compare(tmp_path: Path) -> None:
    method = WhiteBox(source="cache", cache=Cache(states=True), features=(Feature(loss="hidden_states"),))
    folders: dict[str, Any] = {"teacher_folder": teacher_folder(tmp_path), "signals_folder": tmp_path / "signals"}
    write_sums(tmp_path / "data")
    log = check_resume(recipe(tmp_path, method=method, **SHORT), tmp_path / "data", tmp_path, **folders)
    assert log.curve[6]["train/hidden_states"] > 0


def test_a_whole_cache_needs_no_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, method=WhiteBox(source="cache"), **SHORT)
    folders: dict[str, Any] = {"teacher_folder": teacher_folder(tmp_path), "signals_folder": tmp_path / "signals"}
    first = run(plan, tmp_path / "data", tmp_path / "first", **folders)

    def load(folder: Path) -> None:
        raise AssertionError("the teacher was loaded")

    monkeypatch.setattr(CausalStudent, "load", load)
    second = run(plan, tmp_path / "data", tmp_path / "second", **folders)
    assert second.curve == first.curve


def test_a_run_that_is_stopped_while_its_cache_is_built_ends_as_stopped(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, method=WhiteBox(source="cache"), **SHORT)
    folder = train(
        plan,
        tmp_path / "data",
        tmp_path / "work",
        report=Log(),
        should_stop=lambda: True,
        teacher_folder=teacher_folder(tmp_path),
    )
    assert folder is None


@pytest.mark.parametrize(
    "method",
    [
        WhiteBox(temperature=2.0),
        WhiteBox(temperature_by="token"),
        *(method for name, method in METHODS.items() if name in ("hidden", "top_k", "sampled")),
    ],
    ids=["live", "live, temperature by token", "hidden", "top_k", "sampled"],
)
def test_padding_of_the_tables_takes_no_probability(tmp_path: Path, method: WhiteBox) -> None:
    bench = Bench(tmp_path, method)
    CausalStudent.build(tiny_spec(tmp_path / "tokenizer"), seed=3).save(tmp_path / "base")
    student, training = Student(kind="causal", base="base"), bench.recipe.training.model_copy(update={"steps": 3})
    bench.recipe = bench.recipe.model_copy(update={"student": student, "training": training})
    plain = bench.run("plain", signals="plain", base_folder=tmp_path / "base")
    pad(tmp_path / "teacher")
    unpadded = bench.run("unpadded", signals="padded", base_folder=tmp_path / "base")
    pad(tmp_path / "base")
    padded = bench.run("padded", signals="padded", base_folder=tmp_path / "base")
    assert unpadded.curve[3]["train/loss"] == pytest.approx(plain.curve[3]["train/loss"], rel=1e-4)
    # Cross-entropy is of the student's whole table, which alone teaches it never to say padding.
    assert padded.curve[1]["train/kd_loss"] == pytest.approx(plain.curve[1]["train/kd_loss"], rel=1e-4)


def pad(folder: Path) -> None:
    """Forty more rows in the tables, which stand for no token and score high."""
    model = CausalStudent.load(folder)
    known = model.vocabulary_size
    model.network.resize_token_embeddings(known + 40, mean_resizing=False)
    with torch.no_grad():
        model.network.get_output_embeddings().weight[known:] = torch.randn(40, model.network.config.hidden_size) * 3
    model.save(folder)
    assert CausalStudent.load(folder).vocabulary_size == known


def test_a_teacher_that_was_written_over_is_another_one_whatever_its_manifest_says(tmp_path: Path) -> None:
    bench = Bench(tmp_path, METHODS["top_k"])
    made = register(tmp_path / "teacher", tmp_path / "known", kind="causal", parameters=1)
    folder = tmp_path / "known" / made.id
    folders: dict[str, Any] = {"teacher_folder": folder, "signals_folder": tmp_path / "signals"}
    first = run(bench.recipe, tmp_path / "data", tmp_path / "first", **folders)
    teacher = CausalStudent.load(folder)
    with torch.no_grad():
        teacher.network.get_input_embeddings().weight.normal_()
    teacher.save(folder)
    second = run(bench.recipe, tmp_path / "data", tmp_path / "second", **folders)
    assert second.curve[1] != first.curve[1] and len(caches(tmp_path / "signals")) == 2


def test_a_cache_under_another_ones_name_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, METHODS["top_k"])
    bench.run("first")
    bench.recipe = bench.recipe.model_copy(update={"method": METHODS["sampled"]})
    bench.run("second", signals="others")
    [cache], [other] = caches(tmp_path / "signals"), caches(tmp_path / "others")
    shutil.rmtree(tmp_path / "others" / other.name)
    shutil.move(tmp_path / "signals" / cache.name, tmp_path / "others" / other.name)
    with pytest.raises(StoreError, match="another one's"):
        bench.run("third", signals="others")

"""A static student learns from its teacher's scores and pooled state, stopped and resumed as if it had not been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.artifacts import write_manifest
from stillhouse.errors import RecipeError
from stillhouse.files import hash_file
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.method import Cache, Feature, WhiteBox
from stillhouse.recipe import Initialisation, Recipe, Student, Teacher, Training
from stillhouse.students.encoder import EncoderStudent
from stillhouse.students.static import WEIGHTS, StaticStudent
from stillhouse.training import train
from tests.students.tiny_encoders import COMPACT, kinds_of_things, spec, write_wordpieces
from tests.training.runs import Log

torch.set_num_threads(1)

SHAPE = {"embedding_size": 8, "hidden_size": 16, "window": 3, "filters": 6, "blocks": 1, "block_size": 12, "pooling": "mean_max"}


def recipe(*features: Feature) -> Recipe:
    method = WhiteBox(
        loss="forward_kl", weight=1.0, temperature=2.0, source="cache", cache=Cache(tier="logits", states=True), features=features
    )
    return Recipe(
        student=Student(kind="static", config=SHAPE, init=Initialisation(embeddings="folded")),
        teacher=Teacher(model="teacher"),
        method=method,
        training=Training(steps=8, batch_size=8, dropout=0.2, checkpoint_every=3, evaluate_every=4, average=0.9),
    )


@pytest.fixture
def ready(tmp_path: Path) -> dict[str, Any]:
    """A teacher that was never taught, and texts."""
    write_dataset_folder(tmp_path / "data", kinds_of_things(), name="things")
    teacher = EncoderStudent.build(spec(write_wordpieces(tmp_path / "tokenizer"), **COMPACT), examples=kinds_of_things())
    teacher.save(tmp_path / "teacher")
    write_manifest(tmp_path / "teacher", kind="encoder", parameters=teacher.parameters)
    return {"teacher_folder": tmp_path / "teacher", "signals_folder": tmp_path / "signals"}


def test_stopped_and_resumed_it_is_the_same_student(tmp_path: Path, ready: dict[str, Any]) -> None:
    wanted, log = recipe(Feature(loss="pooled", options={"metric": "mse"})), Log()
    whole = train(wanted, tmp_path / "data", tmp_path / "whole", report=log, **ready)
    assert {"train/loss", "train/pooled"} <= log.curve[8].keys()
    stopped = Log()
    assert (
        train(wanted, tmp_path / "data", tmp_path / "cut", should_stop=lambda: 5 in stopped.curve, report=stopped, **ready)
        is None
    )
    resumed = train(wanted, tmp_path / "data", tmp_path / "cut", report=Log(), **ready)
    assert whole is not None and resumed is not None
    assert hash_file(whole / WEIGHTS) == hash_file(resumed / WEIGHTS)
    assert StaticStudent.load(whole).card.shape.blocks == 1


def test_it_has_no_layers_to_compare(tmp_path: Path, ready: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="no layers to compare"):
        train(recipe(Feature(loss="hidden_states")), tmp_path / "data", tmp_path / "run", report=Log(), **ready)

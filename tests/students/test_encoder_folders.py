"""An encoder's folder: saved and loaded it says the same, to us and to transformers alone; what is not whole is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from stillhouse.errors import UsageError
from stillhouse.recipe import Student
from stillhouse.students.encoder import EncoderStudent
from tests.students.tiny_encoders import (
    SHAPES,
    build,
    kinds_of_things,
    said,
    scores,
)

torch.set_num_threads(1)


@pytest.mark.parametrize("shape", SHAPES)
def test_saved_and_loaded_it_gives_the_same_scores(tokenizer: Path, tmp_path: Path, shape: str) -> None:
    student = build(tokenizer, **SHAPES[shape])
    student.save(tmp_path)
    loaded = EncoderStudent.load(tmp_path)
    texts = ["the red cat", "blueish", "?", ""]
    assert torch.equal(scores(loaded, texts), scores(student, texts))
    assert loaded.row_labels == ("animal", "fruit", "none")
    assert loaded.parameters == student.parameters
    assert loaded.tokenizer_hash() == student.tokenizer_hash()


@pytest.mark.parametrize("shape", ["bert cls", "roberta", "distilbert"])
def test_transformers_alone_loads_a_classifier_with_its_labels(tokenizer: Path, tmp_path: Path, shape: str) -> None:
    student = build(tokenizer, **SHAPES[shape])
    student.save(tmp_path)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    tokens = torch.tensor([student.questions([said("a green pear")])[0].tokens])
    with torch.no_grad():
        torch.testing.assert_close(plain(input_ids=tokens).logits, scores(student, ["a green pear"]))
    assert plain.config.id2label == {0: "animal", 1: "fruit", 2: "none"}


def test_transformers_alone_loads_the_body_of_one_that_pools_by_the_mean(tokenizer: Path, tmp_path: Path) -> None:
    student = build(tokenizer, pooling="mean")
    student.save(tmp_path)
    body = AutoModel.from_pretrained(tmp_path).eval()
    [row] = student.questions([said("a green pear")])
    with torch.no_grad():
        mean_1H = body(input_ids=torch.tensor([row.tokens])).last_hidden_state.mean(dim=1)
        torch.testing.assert_close(student.network.last(mean_1H), scores(student, ["a green pear"]))


def test_a_classifier_that_transformers_saved_is_loaded_with_its_own_labels(tokenizer: Path, tmp_path: Path) -> None:
    student = build(tokenizer, pooling="cls")
    student.save(tmp_path)
    (tmp_path / "student.json").unlink()
    foreign = EncoderStudent.load(tmp_path)
    assert foreign.row_labels == ("animal", "fruit", "none")
    torch.testing.assert_close(scores(foreign, ["two dogs"]), scores(student, ["two dogs"]))


def test_a_body_without_a_head_is_no_student_but_a_base(tokenizer: Path, tmp_path: Path) -> None:
    student = build(tokenizer, pooling="mean")
    student.network.body.save_pretrained(tmp_path)
    student.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="no classifier"):
        EncoderStudent.load(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    begun = EncoderStudent.build(Student(kind="encoder"), tmp_path, examples=kinds_of_things())
    assert begun.card.pooling == "mean"  # as the sentence encoder says of itself
    for ours, theirs in zip(begun.network.body.parameters(), student.network.body.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_folder_that_is_not_whole_is_refused(tokenizer: Path, tmp_path: Path) -> None:
    student = build(tokenizer, pooling="mean")
    student.save(tmp_path)
    (tmp_path / "head.safetensors").unlink()
    with pytest.raises(UsageError, match="head"):
        EncoderStudent.load(tmp_path)

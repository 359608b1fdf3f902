"""A static student: the mean of its tokens' rows, whatever their order; made of an encoder, saved, loaded, asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stillhouse.errors import RecipeError, UsageError
from stillhouse.recipe import Initialisation, Student
from stillhouse.students.encoder import EncoderStudent
from stillhouse.students.static import StaticStudent
from stillhouse.tensors import Wanted
from tests.students.tiny_encoders import COMPACT, example, spec, write_wordpieces

LABELS = ["animal", "fruit"]
CHATS = [[{"role": "user", "content": text}] for text in ("the red cat", "two pears", "not a dog, but an apple", "")]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    return write_wordpieces(tmp_path / "tokenizer")


def taught_by(teacher: EncoderStudent, **init: object) -> StaticStudent:
    wanted = Student(kind="static", config={"embedding_size": 8}, init=Initialisation.model_validate(init))
    return StaticStudent.build(wanted, teacher=teacher, examples=[example("the red cat", "animal"), example("pear", "fruit")])


def test_what_is_saved_answers_alike(tokenizer: Path, tmp_path: Path) -> None:
    student = StaticStudent.build(spec(tokenizer, "static", labels=LABELS, max_length=6))
    student.save(tmp_path / "saved")
    loaded = StaticStudent.load(tmp_path / "saved")
    assert loaded.probabilities(CHATS) == student.probabilities(CHATS)
    assert loaded.parameters == student.parameters
    (tmp_path / "saved" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="cannot be loaded"):
        StaticStudent.load(tmp_path / "saved")


def test_the_order_of_words_does_not_matter_and_padding_does_not(tokenizer: Path) -> None:
    student = StaticStudent.build(spec(tokenizer, "static", labels=LABELS))
    texts = ["the red cat", "cat the red", "the red cat apple pear berry two seven"]
    together = student.scores(student.questions([[{"role": "user", "content": text}] for text in texts]))
    [alone] = student.scores(student.questions([[{"role": "user", "content": texts[0]}]]))
    torch.testing.assert_close(together[0], together[1])
    torch.testing.assert_close(together[0], alone)
    assert not torch.allclose(together[0], together[2])


@pytest.mark.parametrize("embeddings", ["pca", "outputs"])
def test_a_table_made_of_an_encoder_keeps_what_is_alike(tokenizer: Path, embeddings: str) -> None:
    teacher = EncoderStudent.build(spec(tokenizer, **COMPACT, labels=LABELS))
    with torch.no_grad():
        teacher.network.body.tokens.weight[5] = teacher.network.body.tokens.weight[4]  # two words that mean the same
    table_VE = taught_by(teacher, embeddings=embeddings).network.rows.weight.detach()
    assert table_VE.shape == (len(teacher.tokenizer), 8)
    apart = (table_VE[4] - table_VE).norm(dim=1)
    assert apart[5] < 0.05 * apart.median()


def test_tokens_that_are_left_out_are_rows_that_are_left_out(tokenizer: Path) -> None:
    teacher = EncoderStudent.build(spec(tokenizer, **COMPACT, labels=LABELS))
    student = taught_by(teacher, embeddings="pca", vocabulary="task")
    assert len(student.tokenizer) == len(student.network.rows.weight) < len(teacher.tokenizer)


def test_what_cannot_be_built_is_refused(tokenizer: Path) -> None:
    teacher = EncoderStudent.build(spec(tokenizer, **COMPACT, labels=LABELS))
    with pytest.raises(RecipeError, match='Take "outputs", or "pca"'):
        taught_by(teacher, embeddings="copy")
    with pytest.raises(RecipeError, match="needs a tokenizer"):
        StaticStudent.build(Student(kind="static", config={"labels": LABELS}))
    with pytest.raises(RecipeError, match='objective = "tokens"'):
        StaticStudent.build(spec(tokenizer, "static", objective="tokens"))
    with pytest.raises(RecipeError, match="embedding_size"):
        StaticStudent.build(spec(tokenizer, "static", labels=LABELS, embedding_size=0))
    with pytest.raises(RecipeError, match="encoder of this machine"):
        StaticStudent.build(Student(kind="static", init=Initialisation(embeddings="pca")), teacher=None)


def test_it_has_no_layers_to_compare(tokenizer: Path) -> None:
    student = StaticStudent.build(spec(tokenizer, "static", labels=LABELS))
    batch = student.collate(student.encode([example("the cat", "animal")], max_tokens=16))
    with pytest.raises(UsageError, match="no layers"):
        student.output(batch, wanted=Wanted(hidden=True))
    pooled = student.output(batch, wanted=Wanted(pooled=True)).states
    assert pooled is not None and pooled.pooled_BH is not None

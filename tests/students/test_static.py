"""A static student: the mean of its tokens' rows, whatever their order; made of an encoder, saved, loaded, asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stillhouse.errors import RecipeError, UsageError
from stillhouse.recipe import Initialisation, Student
from stillhouse.students.encoder import EncoderStudent
from stillhouse.students.networks.table import side_by_side
from stillhouse.students.static import StaticStudent
from stillhouse.tensors import Wanted
from stillhouse.weights import count_parameters
from tests.students.tiny_encoders import COMPACT, example, spec

LABELS = ["animal", "fruit"]
CHATS = [[{"role": "user", "content": text}] for text in ("the red cat", "two pears", "not a dog, but an apple", "")]
WIDE = {"window": 3, "filters": 6, "pooling": "mean_max"}
DEEP = {**WIDE, "blocks": 2, "block_size": 12}


def taught_by(teacher: EncoderStudent, config: dict[str, object] | None = None, **init: object) -> StaticStudent:
    sizes = {"embedding_size": 8, **(config or {})}
    wanted = Student(kind="static", config=sizes, init=Initialisation.model_validate(init))
    return StaticStudent.build(wanted, teacher=teacher, examples=[example("the red cat", "animal"), example("pear", "fruit")])


@pytest.mark.parametrize("shape", [{}, WIDE, DEEP])
def test_what_is_saved_answers_alike(tokenizer: Path, tmp_path: Path, shape: dict[str, object]) -> None:
    student = StaticStudent.build(spec(tokenizer, "static", labels=LABELS, max_length=6, **shape))
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


@pytest.mark.parametrize("shape", [WIDE, DEEP])
def test_with_a_window_the_order_matters_and_padding_does_not(tokenizer: Path, shape: dict[str, object]) -> None:
    student = StaticStudent.build(spec(tokenizer, "static", labels=LABELS, **shape))
    texts = ["the red cat", "cat the red", "the red cat apple pear berry two seven"]
    together = student.scores(student.questions([[{"role": "user", "content": text}] for text in texts]))
    alone = [student.scores(student.questions([[{"role": "user", "content": text}]]))[0] for text in texts]
    torch.testing.assert_close(together, alone)
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("window", [1, 3, 5])
def test_neighbours_stand_side_by_side(window: int) -> None:
    rows_BTE = torch.randn(2, 4, 3)
    found_BTX = side_by_side(rows_BTE, window)
    assert found_BTX.shape == (2, 4, 3 * window)
    for place in range(4):
        for part in range(window):
            other = place + part - window // 2
            wanted_BE = rows_BTE[:, other] if 0 <= other < 4 else torch.zeros(2, 3)
            torch.testing.assert_close(found_BTX[:, place, 3 * part : 3 * part + 3], wanted_BE)


def test_a_folded_table_begins_as_the_outputs(tokenizer: Path) -> None:
    teacher = EncoderStudent.build(spec(tokenizer, **COMPACT, labels=LABELS))
    folded, plain = (taught_by(teacher, embeddings=how) for how in ("folded", "outputs"))
    torch.testing.assert_close(folded.network.rows.weight, plain.network.rows.weight)
    tokens_BT = torch.tensor([[4, 5, 4, 0], [7, 4, 1, 1]])
    torch.testing.assert_close(folded.network.rows(tokens_BT), plain.network.rows(tokens_BT))
    assert folded.parameters == plain.parameters
    folded_rest, plain_rest = (
        {name: weight for name, weight in student.network.state_dict().items() if not name.startswith("rows.")}
        for student in (folded, plain)
    )
    torch.testing.assert_close(folded_rest, plain_rest, rtol=0, atol=0)


def test_a_folded_table_learns_of_tokens_that_no_text_has(tokenizer: Path, tmp_path: Path) -> None:
    teacher = EncoderStudent.build(spec(tokenizer, **COMPACT, labels=LABELS))
    student = taught_by(teacher, WIDE, embeddings="folded")
    before_VE = student.network.rows.weight.detach().clone()
    batch = student.collate(student.encode([example("the cat", "animal")], max_tokens=16))
    optimizer = torch.optim.SGD(student.network.parameters(), lr=1.0)
    torch.autograd.backward(torch.nn.functional.cross_entropy(student.output(batch).scores_NV, torch.tensor([0])))
    optimizer.step()
    changed_V = (student.network.rows.weight.detach() - before_VE).abs().amax(dim=1) > 0
    assert bool(changed_V.all())
    own_V = student.network.rows.own_VE.detach().abs().amax(dim=1) > 0
    assert set(own_V.nonzero().flatten().tolist()) == set(batch.inputs["input_ids"].flatten().tolist())
    student.save(tmp_path / "saved")
    loaded = StaticStudent.load(tmp_path / "saved")
    assert isinstance(loaded.network.rows, torch.nn.Embedding)
    torch.testing.assert_close(loaded.scores(loaded.questions(CHATS)), student.scores(student.questions(CHATS)))
    assert loaded.parameters == student.parameters == count_parameters(tmp_path / "saved")


@pytest.mark.parametrize("embeddings", ["pca", "outputs", "folded"])
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
    with pytest.raises(RecipeError, match='Take "folded", "outputs" or "pca"'):
        taught_by(teacher, embeddings="copy")
    with pytest.raises(RecipeError, match="needs a tokenizer"):
        StaticStudent.build(Student(kind="static", config={"labels": LABELS}))
    with pytest.raises(RecipeError, match='objective = "tokens"'):
        StaticStudent.build(spec(tokenizer, "static", objective="tokens"))
    with pytest.raises(RecipeError, match="odd number"):
        StaticStudent.build(spec(tokenizer, "static", labels=LABELS, window=2))
    with pytest.raises(RecipeError, match="window = 1 makes nothing"):
        StaticStudent.build(spec(tokenizer, "static", labels=LABELS, blocks=1))
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

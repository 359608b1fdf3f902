"""An encoder that starts from its teacher: the same numbers at the same sizes, the best part of them at smaller ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from stillhouse.errors import RecipeError
from stillhouse.recipe import Initialisation, Student
from stillhouse.students.encoder import EncoderStudent
from stillhouse.students.static import StaticStudent
from tests.students.tiny_encoders import BERT, COMPACT, DISTILBERT, kinds_of_things, spec

torch.set_num_threads(1)

SAME = {name: value for name, value in BERT.items() if name != "model_type"}
EXAMPLES = kinds_of_things()


def teacher_of(tokenizer: Path, **config: Any) -> EncoderStudent:
    given = Student(kind="encoder", config={**BERT, **config} if "dim" not in config else config, tokenizer=str(tokenizer))
    teacher = EncoderStudent.build(given, examples=EXAMPLES, seed=3)
    with torch.no_grad():
        for name, parameter in teacher.network.named_parameters():
            if name.endswith("bias"):  # zero at first, and then a forgotten one would not be noticed
                parameter.normal_(std=0.1)
    teacher.network.eval()
    return teacher


def started(teacher: EncoderStudent, init: dict[str, Any] | None = None, **config: Any) -> EncoderStudent:
    given = Student(kind="encoder", config=config, init=Initialisation(**(init or {})))
    student = EncoderStudent.build(given, examples=EXAMPLES, teacher=teacher)
    student.network.eval()
    return student


def scores(student: EncoderStudent | StaticStudent) -> torch.Tensor:
    return torch.cat(student.scores(student.questions([example.messages for example in EXAMPLES])))


@pytest.mark.parametrize("config", [{"pooling": "cls"}, {"pooling": "mean"}, {"model_type": "roberta"}, DISTILBERT])
def test_of_the_teacher_s_own_size_it_is_the_teacher(tokenizer: Path, config: dict[str, Any]) -> None:
    teacher = teacher_of(tokenizer, **config)
    assert torch.equal(scores(started(teacher)), scores(teacher))


@pytest.mark.parametrize("config", [{"pooling": "cls"}, {"pooling": "mean"}, {"model_type": "roberta"}, DISTILBERT])
def test_with_a_pruned_vocabulary_the_training_texts_look_the_same(tokenizer: Path, config: dict[str, Any]) -> None:
    teacher = teacher_of(tokenizer, **config)
    student = started(teacher, {"vocabulary": "task"})
    assert student.parameters < teacher.parameters
    torch.testing.assert_close(scores(student), scores(teacher), rtol=0, atol=1e-6)


def test_narrower_and_shallower_it_is_still_what_transformers_loads(tokenizer: Path, tmp_path: Path) -> None:
    student = started(teacher_of(tokenizer, pooling="cls"), hidden_size=16, num_hidden_layers=1, intermediate_size=24)
    student.save(tmp_path)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert plain.config.num_attention_heads == 1  # heads stay 16 wide
    [row] = student.questions([EXAMPLES[0].messages])
    with torch.no_grad():
        torch.testing.assert_close(plain(input_ids=torch.tensor([row.tokens])).logits[0], scores(student)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("config", [{}, {"architecture": "compact", "embedding_size": 32, **SAME}], ids=["plain", "compact"])
def test_each_label_keeps_its_own_scores(tokenizer: Path, config: dict[str, Any]) -> None:
    teacher = teacher_of(tokenizer, pooling="mean")
    student = started(teacher, labels=["new", *reversed(teacher.row_labels)], **config)
    same = scores(student)[:, [student.row_labels.index(label) for label in teacher.row_labels]]
    torch.testing.assert_close(same, scores(teacher), rtol=0, atol=1e-5)


def test_a_teacher_of_several_tasks_can_be_started_from(tokenizer: Path) -> None:
    rows = [each.model_copy(update={"metadata": {"task": f"task {i % 2}"}}) for i, each in enumerate(EXAMPLES)]
    built = Student(kind="encoder", config={**BERT, "heads": "task"}, tokenizer=str(tokenizer))
    teacher = EncoderStudent.build(built, examples=rows, seed=3)
    given = Student(kind="encoder", config={"heads": "task", "hidden_size": 16}, init=Initialisation(vocabulary="task"))
    student = EncoderStudent.build(given, examples=rows, teacher=teacher)
    assert student.row_labels == teacher.row_labels and student.parameters < teacher.parameters


def test_a_compact_network_of_the_teacher_s_sizes_is_the_teacher(tokenizer: Path) -> None:
    teacher = teacher_of(tokenizer, pooling="mean")
    student = started(teacher, architecture="compact", embedding_size=32, **SAME)
    torch.testing.assert_close(scores(student), scores(teacher), rtol=0, atol=1e-5)
    again = started(student, architecture="compact", embedding_size=32, **SAME)  # a teacher may be compact itself
    torch.testing.assert_close(scores(again), scores(teacher), rtol=0, atol=1e-5)


def test_the_more_columns_a_factorised_table_has_the_nearer_it_is(tokenizer: Path) -> None:
    teacher = teacher_of(tokenizer, pooling="mean")
    far, near = (
        (scores(started(teacher, {"embeddings": "pca"}, architecture="compact", embedding_size=size, **SAME)) - scores(teacher))
        .abs()
        .max()
        for size in (4, 31)
    )
    assert near < far / 3


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_a_table_alone_can_be_taken_over(tokenizer: Path, norm: str) -> None:
    teacher = teacher_of(tokenizer, pooling="mean")
    student = started(teacher, {"layers": (), "embeddings": "outputs"}, **COMPACT, norm=norm)
    table_VE = student.network.tokens.weight
    assert table_VE.square().mean().item() == pytest.approx(1, abs=1e-4)
    gram_EE = table_VE.T @ table_VE
    assert (gram_EE - gram_EE.diag().diag()).abs().max() < 1e-3 * gram_EE.max()  # principal components


def test_a_static_table_is_what_the_teacher_says_of_each_token(tokenizer: Path) -> None:
    given = Student(
        kind="static",
        config={"embedding_size": 8, "hidden_size": 16},
        init=Initialisation(embeddings="outputs", vocabulary="task"),
    )
    student = StaticStudent.build(given, examples=EXAMPLES, teacher=teacher_of(tokenizer))
    assert student.network.rows.weight.shape == (len(student.tokenizer), 8)
    assert scores(student).shape == (len(EXAMPLES), 3)


@pytest.mark.parametrize(
    ("init", "config", "problem"),
    [
        ({}, {"hidden_size": 20}, "num_attention_heads"),
        ({}, {"hidden_size": 64}, "narrower"),
        ({}, {"num_hidden_layers": 3}, "fewer"),
        ({"layers": (0, 5)}, {}, "layers"),
        ({"embeddings": "pca"}, {}, "compact"),
        ({"vocabulary": 3}, {}, "spell"),
        ({}, {"vocabulary_size": 3}, "not a size"),
        ({}, {"pooling": "mean"}, "pools"),
        ({}, {"architecture": "compact", "embedding_size": 8, **SAME}, "pca"),
    ],
)
def test_what_cannot_be_cut_is_refused(tokenizer: Path, init: dict[str, Any], config: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        started(teacher_of(tokenizer, pooling="cls"), init, **config)


def test_without_a_teacher_there_is_nothing_to_start_from(tokenizer: Path) -> None:
    with pytest.raises(RecipeError, match="teacher"):
        EncoderStudent.build(Student(kind="encoder", init=Initialisation()), examples=EXAMPLES)
    with pytest.raises(RecipeError, match="tokenizer"):
        given = spec(tokenizer).model_copy(update={"init": Initialisation(), "config": {}})
        EncoderStudent.build(given, examples=EXAMPLES, teacher=teacher_of(tokenizer))

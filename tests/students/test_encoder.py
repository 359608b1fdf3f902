"""An encoder: what it is made of, what it reads and answers, and that it is taught through `train` as any student."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.errors import ContextLengthError, RecipeError, TrainingError
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.generation import Generation
from stillhouse.method import BlackBox, Method, WhiteBox
from stillhouse.recipe import Recipe, Student, Teacher, Training
from stillhouse.students.encoder import EncoderStudent
from stillhouse.students.engines import ReadingEngine
from stillhouse.tensors import Wanted
from stillhouse.training import train
from tests.students.tiny_encoders import (
    BERT,
    SHAPES,
    build,
    example,
    kinds_of_things,
    said,
    scores,
    spec,
    words,
)

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"objective": "poetry"}, "objective"),
        ({"architecture": "compact", "hidden_size": "wide"}, "hidden_size"),
        ({"architecture": "compact", "hidden_size": 32, "num_attention_heads": 3}, "no multiple of num_attention_heads"),
        ({**BERT, "hidden_sice": 3}, "hidden_sice"),
        ({**BERT, "max_length": 65}, "64 positions"),
        ({**BERT, "heads": "task", "labels": ["a", "b"]}, "labels"),
        ({**BERT, "heads": "task", "objective": "regression"}, "regression"),
    ],
)
def test_a_recipe_that_cannot_be_built_says_why(tokenizer: Path, config: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        EncoderStudent.build(Student(kind="encoder", config=config, tokenizer=str(tokenizer)), examples=kinds_of_things())


@pytest.mark.parametrize("shape", SHAPES)
def test_company_and_padding_change_no_score(tokenizer: Path, shape: str) -> None:
    student = build(tokenizer, **SHAPES[shape])
    texts = ["cat", "the seven green apples not the red dogs", "two"]
    alone = torch.cat([scores(student, [text]) for text in texts])
    torch.testing.assert_close(scores(student, texts), alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_its_inner_states_are_given_where_they_are_wanted(tokenizer: Path, shape: str) -> None:
    student = build(tokenizer, **SHAPES[shape])
    batch = student.collate(student.encode(kinds_of_things()[:4], max_tokens=64))
    wanted = Wanted(hidden=True, attention=True, relations=frozenset({"queries", "values"}), pooled=True)
    states = student.output(batch, wanted=wanted).states
    assert states is not None and states.pooled_BH is not None
    assert len(states.hidden) == 3 and len(states.scores) == len(states.queries) == 2
    assert states.values[0].shape == (4, 2, batch.inputs["input_ids"].shape[1], 16)


def test_a_text_that_is_too_long_is_refused_unless_the_recipe_cuts_it(tokenizer: Path) -> None:
    long = example("cat " * 100, "animal")
    student = build(tokenizer)
    with pytest.raises(RecipeError, match="max_length"):
        student.encode([long], max_tokens=1024)
    with pytest.raises(ContextLengthError):
        student.answer([long.messages])
    cut = build(tokenizer, max_length=8)
    assert cut.encode([long], max_tokens=1024)[0].length == 8
    assert cut.answer([long.messages]) == cut.answer([said("cat " * 6)])


def test_an_unknown_label_is_an_error_in_train_and_weighs_nothing_elsewhere(tokenizer: Path) -> None:
    student = build(tokenizer)
    with pytest.raises(TrainingError, match="mineral"):
        student.encode([example("the red stone", "mineral")], max_tokens=64)
    [watched] = student.encode([example("the red stone", "mineral", split="valid")], max_tokens=64)
    assert watched.weight == 0
    with pytest.raises(TrainingError, match="empty"):
        student.encode([example("the red stone", " ")], max_tokens=64)


def test_labels_are_the_recipe_s_or_the_teacher_s_or_the_train_split_s(tokenizer: Path) -> None:
    given = build(tokenizer, labels=["none", "fruit", "animal"])
    assert given.row_labels == ("none", "fruit", "animal")
    taught = EncoderStudent.build(spec(tokenizer), examples=kinds_of_things(), teacher=given)
    assert taught.row_labels == ("none", "fruit", "animal")
    with pytest.raises(RecipeError, match="at least two"):
        build(tokenizer, examples=[example("cat", "animal")])


def asked(text: str, **parameters: Any) -> Generation:
    return Generation(messages=({"role": "user", "content": text},), **parameters)


def test_served_it_answers_with_probabilities_of_each_label(tokenizer: Path) -> None:
    student = build(tokenizer, words(), objective="tokens")
    engine = ReadingEngine(student)
    engine.submit(0, asked("red cat", logprobs=True, top_logprobs=3))
    [piece] = engine.step()
    assert piece.text == student.answer([said("red cat")])[0]
    assert piece.completion_tokens == 2 and piece.logprobs is not None
    assert [entry["token"] for entry in piece.logprobs] == piece.text.split()
    assert len(piece.logprobs[0]["top_logprobs"]) == 3


def test_a_question_it_cannot_answer_is_refused_before_it_waits_with_others(tokenizer: Path) -> None:
    engine = ReadingEngine(build(tokenizer))
    with pytest.raises(ContextLengthError):
        engine.submit(0, asked("cat " * 100))
    assert not engine.busy


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("things") / "data"
    write_dataset_folder(folder, kinds_of_things(), name="things")
    return folder


def run(
    student: Student, data: Path, work: Path, *, method: Method | None = None, teacher: Path | None = None
) -> dict[str, float]:
    """The last metrics of a short run through `train`."""
    recipe = Recipe(
        student=student,
        method=method or BlackBox(),
        teacher=Teacher(model=None if teacher is None else str(teacher)),
        training=Training(steps=80, batch_size=12, learning_rate=2e-3, threads=1, evaluate_every=80),
    )
    metrics: dict[str, float] = {}
    folder = train(recipe, data, work, report=lambda progress: metrics.update(progress.metrics), teacher_folder=teacher)
    assert folder == work / "student"
    return metrics


@pytest.fixture(scope="module")
def teacher(tokenizer: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("teacher")
    run(spec(tokenizer, pooling="mean"), data, work)
    return work / "student"


def test_it_is_taught_by_labels_alone(teacher: Path) -> None:
    student = EncoderStudent.load(teacher)
    right = [student.answer([given.messages])[0] == given.answer for given in kinds_of_things() if given.split == "train"]
    assert sum(right) / len(right) > 0.9


@pytest.mark.parametrize("shape", ["bert mean", "compact"])
def test_it_is_taught_by_another_encoder(tokenizer: Path, teacher: Path, data: Path, tmp_path: Path, shape: str) -> None:
    given = Student(kind="encoder", config=SHAPES[shape], tokenizer=str(tokenizer))
    run(given, data, tmp_path, method=WhiteBox(weight=0.9, temperature=2.0), teacher=teacher)
    learnt, begun = EncoderStudent.load(tmp_path / "student"), EncoderStudent.build(given, examples=kinds_of_things())
    assert distance(learnt, teacher) < distance(begun, teacher) / 5


def distance(student: EncoderStudent, teacher: Path) -> float:
    """Divergence from the teacher, in nats."""
    chats = [given.messages for given in kinds_of_things()]
    said_by = [torch.cat(each.scores(each.questions(chats))) for each in (EncoderStudent.load(teacher), student)]
    log_p_NV, log_q_NV = (scores_NV.log_softmax(dim=-1) for scores_NV in said_by)
    return float((log_p_NV.exp() * (log_p_NV - log_q_NV)).sum(dim=-1).mean())

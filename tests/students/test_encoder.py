"""An encoder: what it reads, what it answers, how it is saved, and that it is taught through `train` as any student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification

from stillhouse.chat import Message
from stillhouse.dataset import Example
from stillhouse.errors import ContextLengthError, RecipeError, TrainingError, UsageError
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.generation import Generation
from stillhouse.method import BlackBox, Method, WhiteBox
from stillhouse.recipe import Recipe, Student, Teacher, Training
from stillhouse.students.encoder import EncoderStudent
from stillhouse.students.engines import ReadingEngine
from stillhouse.tensors import Wanted
from stillhouse.training import train
from tests.students.tiny_encoders import BERT, COMPACT, example, kinds_of_things, spec, write_wordpieces

torch.set_num_threads(1)

DISTILBERT = {"model_type": "distilbert", "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 64}
ROBERTA = {**BERT, "model_type": "roberta"}
SHAPES: dict[str, dict[str, Any]] = {
    "bert cls": {**BERT, "pooling": "cls"},
    "bert mean": {**BERT, "pooling": "mean"},
    "roberta": ROBERTA,
    "distilbert": DISTILBERT,
    "compact": COMPACT,
    "compact pre-norm": {**COMPACT, "norm": "pre"},
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wordpieces(tmp_path_factory.mktemp("wordpieces"))


def build(tokenizer: Path, examples: list[Example] | None = None, **config: Any) -> EncoderStudent:
    config = config if "model_type" in config or "architecture" in config else {**BERT, **config}
    given = Student(kind="encoder", config=config, tokenizer=str(tokenizer))
    student = EncoderStudent.build(given, examples=kinds_of_things() if examples is None else examples)
    student.network.eval()
    return student


def said(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def scores(student: EncoderStudent, texts: list[str]) -> torch.Tensor:
    return torch.cat(student.scores(student.questions([said(text) for text in texts])))


# -- made and saved -----------------------------------------------------------------------------------------------------------


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


# -- what it reads ------------------------------------------------------------------------------------------------------------


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


# -- pairs, numbers, words, tasks ---------------------------------------------------------------------------------------------


def pairs() -> list[Example]:
    things = ["cat", "dog", "pear", "apple"]
    return [example(f"{a}\n{b}", "same" if a == b else "other") for a in things for b in things]


def test_a_pair_is_one_message_or_the_last_two(tokenizer: Path) -> None:
    student = build(tokenizer, pairs(), objective="pair")
    together = said("cat\ndog")
    apart: list[Message] = [*said("cat"), {"role": "assistant", "content": "?"}, *said("dog")]
    [one], [two] = student.questions([together]), student.questions([apart])
    assert one.tokens == two.tokens
    assert sorted(set(one.segments)) == [0, 1]
    assert (
        build(tokenizer, pairs(), **ROBERTA, type_vocab_size=1, objective="pair").questions([together])[0].segments == ()
    )  # it knows no types
    with pytest.raises(UsageError, match="two texts"):
        student.answer([said("cat")])


def test_numbers_are_learnt_and_answered_as_numbers(tokenizer: Path, tmp_path: Path) -> None:
    examples = [
        example(f"{word} {thing}", number) for word, number in (("two", "2.0"), ("seven", "7")) for thing in ("cat", "pear")
    ]
    student = taught(build(tokenizer, examples, objective="regression", pooling="mean"), examples, steps=250)
    assert student.vocabulary_size == 1 and student.row_labels == ()
    answers = [float(answer) for answer in student.answer([given.messages for given in examples])]
    assert answers == pytest.approx([2, 2, 7, 7], abs=0.5)
    student.save(tmp_path)
    assert AutoModel.from_pretrained(tmp_path).config.problem_type == "regression"
    with pytest.raises(TrainingError, match="no number"):
        student.encode([example("a cat", "many")], max_tokens=64)


def words() -> list[Example]:
    label = {"cat": "THING", "pear": "THING", "red": "COLOUR", "blueish": "COLOUR"}
    texts = ["the red cat", "blueish pear", "the  cat", "red ?", "pear red the"]
    return [example(text, " ".join(label.get(word, "O") for word in text.split())) for text in texts]


def test_each_word_has_a_label(tokenizer: Path, tmp_path: Path) -> None:
    student = taught(build(tokenizer, words(), objective="tokens"), words())
    assert student.answer([given.messages for given in words()]) == [given.answer for given in words()]
    student.save(tmp_path)
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    [row] = student.questions([said("blueish pear")])
    assert row.places == (1, 3)  # [CLS] blue ##ish pear [SEP]
    with torch.no_grad():
        logits_TV = plain(input_ids=torch.tensor([row.tokens])).logits[0]
    torch.testing.assert_close(logits_TV[list(row.places)], student.scores([row])[0])
    with pytest.raises(TrainingError, match="2 words and 1 labels"):
        student.encode([example("red cat", "COLOUR")], max_tokens=64)


def test_labels_of_words_may_be_json(tokenizer: Path) -> None:
    examples = [example("red cat", '["a colour", "a thing"]')]
    student = taught(build(tokenizer, examples, objective="tokens"), examples)
    assert student.row_labels == ("a colour", "a thing")
    assert json.loads(student.answer([examples[0].messages])[0]) == ["a colour", "a thing"]


def tasks() -> list[Example]:
    things = [("cat", "animal"), ("dog", "animal"), ("pear", "fruit"), ("apple", "fruit")]
    kinds = [example(f"{colour} {thing}", kind, task="kind") for thing, kind in things for colour in ("red", "blue")]
    colours = [example(f"{colour} {thing}", colour, task="colour") for thing, _ in things for colour in ("red", "blue")]
    return [*kinds, *colours]


def test_each_task_has_a_head_and_its_labels_are_compared_among_themselves(tokenizer: Path) -> None:
    student = taught(build(tokenizer, tasks(), heads="task"), tasks())
    assert student.row_labels == ("colour/blue", "colour/red", "kind/animal", "kind/fruit")
    for task, answer in (("kind", "animal"), ("colour", "red")):
        chat: list[Message] = [{"role": "system", "content": task}, *said("red cat")]
        assert student.answer([chat]) == [answer]
        assert sum(student.probabilities([chat])[0].values()) == pytest.approx(1)
    batch = student.collate(student.encode(tasks(), max_tokens=64))
    probability_NV = student.output(batch).scores_NV.softmax(dim=-1)
    kinds = torch.tensor([task == "kind" for task in batch.tasks])
    assert probability_NV[kinds, :2].max() == 0 and probability_NV[~kinds, 2:].max() == 0
    with pytest.raises(UsageError, match="colour, kind"):
        student.answer([said("red cat")])


def taught(student: EncoderStudent, examples: list[Example], steps: int = 120) -> EncoderStudent:
    """Learn the examples by heart, the plain way."""
    rows = student.encode(examples, max_tokens=64)
    optimizer = torch.optim.AdamW(student.network.parameters(), lr=2e-3)
    for _ in range(steps):
        batch = student.collate(rows)
        scores_NV = student.output(batch).scores_NV
        if batch.targets_N.is_floating_point():
            loss = (scores_NV.squeeze(-1) - batch.targets_N).square().mean()
        else:
            loss = torch.nn.functional.cross_entropy(scores_NV, batch.targets_N)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
    return student


# -- served -------------------------------------------------------------------------------------------------------------------


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


# -- taught -------------------------------------------------------------------------------------------------------------------


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

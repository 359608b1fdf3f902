"""What else an encoder is taught than a label: pairs, numbers, a label a word, a head a task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForTokenClassification

from stillhouse.chat import Message
from stillhouse.dataset import Example
from stillhouse.errors import TrainingError, UsageError
from stillhouse.students.encoder import EncoderStudent
from tests.students.tiny_encoders import (
    ROBERTA,
    build,
    example,
    said,
    words,
)

torch.set_num_threads(1)


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
    for none in ("many", "nan", "-inf"):
        with pytest.raises(TrainingError, match="no number"):
            student.encode([example("a cat", none)], max_tokens=64)


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

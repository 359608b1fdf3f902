"""A classifier behind the same protocol as a decoder: a label, whole, with its probability if asked."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stillhouse.errors import UsageError
from stillhouse.generation import Generation
from stillhouse.students import STUDENTS
from stillhouse.students.engines import ENGINES, LabelEngine
from stillhouse.students.linear import LinearStudent

TEXTS = ["lost card", "my card is lost", "card lost again", "change my pin", "new pin please", "the pin is wrong"]
LABELS = ["card", "card", "card", "pin", "pin", "pin"]


@pytest.fixture(scope="module")
def student() -> LinearStudent:
    return LinearStudent.fit(TEXTS, LABELS, {})


def ask(text: str, **parameters: Any) -> Generation:
    return Generation(messages=({"role": "user", "content": text},), **parameters)


def test_every_kind_of_student_can_be_served() -> None:
    assert ENGINES.names() == STUDENTS.names()


def test_the_answer_is_the_likeliest_label(student: LinearStudent) -> None:
    engine = LabelEngine(student, batch=2)
    for ticket, text in enumerate(["card is lost", "wrong pin", "a lost card"]):
        engine.submit(ticket, ask(text))
    pieces = engine.step()
    assert [piece.text for piece in pieces] == ["card", "pin"]
    assert engine.busy
    (last,) = engine.step()
    assert (last.ticket, last.text, last.finish, last.completion_tokens) == (2, "card", "stop", 1)
    assert not engine.busy


def test_logprobs_are_the_probabilities(student: LinearStudent) -> None:
    engine = LabelEngine(student)
    engine.submit(0, ask("pin", logprobs=True, top_logprobs=2, n=2))
    pieces = engine.step()
    assert [piece.choice for piece in pieces] == [0, 1]
    assert pieces[0].logprobs is not None
    (entry,) = pieces[0].logprobs
    (row,) = student.probabilities([ask("pin").messages])
    assert math.exp(entry["logprob"]) == pytest.approx(row["pin"])
    assert {other["token"] for other in entry["top_logprobs"]} == {"card", "pin"}


def test_an_aborted_request_is_forgotten(student: LinearStudent) -> None:
    engine = LabelEngine(student)
    engine.submit(0, ask("pin"))
    engine.abort(0)
    engine.abort(7)
    assert not engine.busy
    assert engine.step() == []


def test_a_chat_without_a_user_message_is_refused(student: LinearStudent) -> None:
    with pytest.raises(UsageError, match="last user message"):
        LabelEngine(student).submit(0, Generation(messages=({"role": "system", "content": "x"},)))

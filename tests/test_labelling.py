from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from stillhouse.apply import Outcome
from stillhouse.chat import ChatRequest, ChatResponse, Chunk
from stillhouse.dataset import Example, example_id
from stillhouse.errors import UpstreamError
from stillhouse.labelling import Plan, asks_of, label, with_answer

Answering = Callable[[str], dict[str, Any]]


def says(text: str | None, finish_reason: str = "stop") -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}]}


class Teacher:
    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.requests: list[ChatRequest] = []

    async def complete(self, request: ChatRequest) -> ChatResponse:
        self.requests.append(request)
        return ChatResponse.build(self.answering(request.messages[-1]["content"]))

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        raise NotImplementedError
        yield Chunk.done()

    async def close(self) -> None:
        pass


def example(question: str, answer: str, source: str | None = "file:q.csv:2", **more: Any) -> Example:
    messages = [{"role": "user", "content": question}]
    identity = example_id(messages, answer, more.get("tools"))
    return Example(id=identity, messages=messages, answer=answer, source=source, group=f"g-{question}", **more)


EXAMPLES = [example(question, "gold", split="test", metadata={"task": "t"}) for question in ("a", "b", "c")]


async def test_examples_come_back_with_the_teachers_answers_and_all_else_as_it_was() -> None:
    teacher = Teacher(lambda question: says(f"reasoning about {question}"))
    labelled = await label(teacher, EXAMPLES, model_name="big", parameters={"temperature": 0.7})
    assert [each.answer for each in labelled] == ["reasoning about a", "reasoning about b", "reasoning about c"]
    for before, after in zip(EXAMPLES, labelled, strict=True):
        assert after.id == example_id(before.messages, after.answer) != before.id
        assert after == before.model_copy(update={"id": after.id, "answer": after.answer, "reference": "gold"})
    assert {(request.body["model"], request.body["temperature"]) for request in teacher.requests} == {("big", 0.7)}


@pytest.mark.parametrize(
    ("before", "reference"),
    [
        (example("q", "gold"), "gold"),
        (example("q", "gold", source=None), "gold"),
        (example("q", "gold", reference="truth"), "truth"),
        (example("q", "another model's", source="completion:chatcmpl-1"), None),
        (example("q", ""), None),
    ],
)
def test_what_somebody_wrote_becomes_the_reference_and_what_a_model_said_does_not(before: Example, reference: str | None) -> None:
    assert with_answer(before, "new").reference == reference


async def test_what_is_no_label_is_left_out_and_told() -> None:
    def answering(question: str) -> dict[str, Any]:
        if question == "refused":
            raise UpstreamError("no such thing", status=400)
        answers = {"cut": says("half", "length"), "none": {"choices": []}, "silent": says(None), "blank": says(" \n")}
        return answers.get(question, says("fine"))

    told: list[tuple[str, str]] = []
    examples = [example(question, "gold") for question in ("cut", "fine", "none", "silent", "blank", "refused")]
    labelled = await label(
        Teacher(answering),
        examples,
        model_name="big",
        concurrency=1,
        left_out=lambda each, why: told.append((each.messages[0]["content"], why)),
    )
    assert [each.answer for each in labelled] == ["fine"]
    assert told == [
        ("cut", "its answer ended by 'length'"),
        ("none", "it holds no choice"),
        ("silent", "its answer is empty"),
        ("blank", "its answer is empty"),
        ("refused", "no answer: refused"),
    ]


async def test_resuming_asks_the_rest_and_gives_the_same_examples() -> None:
    kept: list[Outcome] = []
    whole = await label(Teacher(lambda question: says(question * 2)), EXAMPLES, model_name="big", keep=kept.append)
    again = Teacher(lambda question: says(question * 2))
    seen = {outcome.key: outcome for outcome in kept[:2]}
    assert await label(again, EXAMPLES, model_name="big", seen=seen) == whole
    assert len(again.requests) == 1
    other = Teacher(lambda question: says(question * 2))
    await label(other, EXAMPLES, model_name="bigger", seen=seen)
    assert len(other.requests) == 3


async def test_tools_go_along() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    teacher = Teacher(lambda question: says("x"))
    (labelled,) = await label(teacher, [example("a", "gold", tools=tools)], model_name="big")
    assert teacher.requests[0].body["tools"] == labelled.tools == tools


def test_every_sample_of_every_question_has_its_seed_and_a_file_in_another_order_the_same_keys() -> None:
    plan = Plan(model="big", samples=3, seed=5)
    asks, turned = list(asks_of(EXAMPLES, plan)), list(asks_of(EXAMPLES[::-1], plan))
    assert len({ask.request.body["seed"] for ask in asks}) == 9
    assert {ask.key for ask in asks} == {ask.key for ask in turned}


def test_answers_that_were_kept_without_a_seed_are_found_again() -> None:
    # The key as it was before samples had seeds of their own.
    ask, _ = Plan(model="big", parameters={"temperature": 0.7}, samples=2).asks(EXAMPLES[0])
    assert ask.request.body == {"model": "big", "messages": EXAMPLES[0].messages, "temperature": 0.7}
    assert ask.key == "5199291db4622054cd489bf9b63f6ef50113d812c1323d220e0418441e9a07c7"

"""Asking for explanations: the words that go out, the rows that come of it, nothing asked twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from stillhouse.answers import answer_type
from stillhouse.apply import Ask, Outcome
from stillhouse.chat import ChatRequest, ChatResponse
from stillhouse.explaining import Method, Question, explain
from stillhouse.prompts import sample_seed
from stillhouse.reasoning import Rationale, task_of

TASK = task_of("gsm8k")
QUESTIONS = [Question(index, [{"role": "user", "content": f"{index} and 2?"}], str(index + 2)) for index in range(3)]
Answering = Callable[[str, ChatRequest], dict[str, Any] | str | None]


class Teacher:
    """Answers by a function of the prompt; a text, a message, or None for a failure. Remembers what it was asked."""

    def __init__(self, answer: Answering, finish: str = "stop") -> None:
        self.answer, self.finish = answer, finish
        self.asked: list[ChatRequest] = []
        self.keys: set[str] = set()

    async def __call__(self, asks: Sequence[Ask]) -> list[Outcome]:
        return [self._outcome(ask) for ask in asks]

    def _outcome(self, ask: Ask) -> Outcome:
        assert ask.key not in self.keys, "asked twice"
        self.keys.add(ask.key)
        self.asked.append(ask.request)
        said = self.answer(ask.request.messages[-1]["content"], ask.request)
        if said is None:
            return Outcome(key=ask.key, error="UpstreamError: it is down")
        message = {"role": "assistant", "content": said} if isinstance(said, str) else {"role": "assistant", **said}
        body = ChatResponse.build({"choices": [{"index": 0, "message": message, "finish_reason": self.finish}]})
        return Outcome(key=ask.key, body=body.raw.decode())


def steps(prompt: str, _: ChatRequest) -> str:
    return " 5." if "Therefore" in prompt else f" First {prompt[3]}, then 2. "


async def test_two_steps_in_the_papers_words() -> None:
    teacher = Teacher(steps)
    [row] = await explain(teacher, QUESTIONS[:1], TASK, Method(name="zs_cot"), model_name="m")
    prompt = "Q: 0 and 2?\nA: Let's think step by step."
    assert row == {
        "sample_index": 0,
        "completion_index": 0,
        "question": "0 and 2?",
        "answer": "2",
        "reasoning_prompt": prompt,
        "reasoning_completion": " First 0, then 2. ",
        "reasoning_finish_reason": "stop",
        "prompt": f"{prompt}First 0, then 2.\nTherefore, the answer is",
        "completion": " 5.",
        "finish_reason": "stop",
    }
    first, second = teacher.asked
    assert (first.messages, second.messages) == (
        [{"role": "user", "content": prompt}],
        [{"role": "user", "content": row["prompt"]}],
    )
    assert (first.body["max_completion_tokens"], first.body["temperature"]) == (128, 0.0)


async def test_the_tasks_own_phrase_and_length() -> None:
    teacher = Teacher(steps)
    method = Method(name="zs_cot_long", asks="task", temperature=0.3, seed=7, samples=2)
    rows = await explain(teacher, QUESTIONS[:1], TASK, method, model_name="m")
    assert rows[0]["prompt"].endswith("then 2.  \nTherefore, the answer (arabic numerals) is")
    bodies = [request.body for request in teacher.asked]
    assert [body["max_completion_tokens"] for body in bodies] == [512, 512, 128, 128]
    assert [body["temperature"] for body in bodies] == [0.3, 0.3, 0.0, 0.0]
    drawn = [sample_seed(7, QUESTIONS[0].messages, number) for number in (0, 1)]
    assert [body["seed"] for body in bodies] == drawn * 2


async def test_no_two_rationales_are_asked_for_with_one_seed_and_order_does_not_matter() -> None:
    def seeds(asked: Sequence[ChatRequest]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for request in asked:
            found.setdefault(request.messages[-1]["content"], []).append(request.body["seed"])
        return found

    teacher, other = Teacher(steps), Teacher(steps)
    method = Method(name="plain", seed=0, samples=4)
    await explain(teacher, QUESTIONS, TASK, method, model_name="m")
    turned = [Question(9 - each.index, each.messages, each.answer) for each in reversed(QUESTIONS)]
    await explain(other, turned, TASK, method, model_name="m")
    assert seeds(teacher.asked) == seeds(other.asked)
    assert teacher.keys == other.keys
    assert len({each for drawn in seeds(teacher.asked).values() for each in drawn}) == 12


async def test_without_a_seed_none_is_sent() -> None:
    teacher = Teacher(steps)
    await explain(teacher, QUESTIONS, TASK, Method(name="plain", samples=2), model_name="m")
    assert not any("seed" in request.body for request in teacher.asked)


async def test_one_step_for_chat_models_and_the_answer_is_found() -> None:
    teacher = Teacher(
        lambda prompt, _: {"content": f"{prompt[0]} + 2 = 9. So it is:\n\nAnswer: 9", "reasoning_content": "Hm, 9."}
    )
    system = {"role": "system", "content": "Be kind."}
    question = Question(4, [system, {"role": "user", "content": "7 and 2?"}], "9")
    [row] = await explain(teacher, [question], TASK, Method(), model_name="m")
    assert teacher.asked[0].messages[0] == system
    assert 'as "Answer: " and a number' in row["prompt"]
    assert "max_completion_tokens" not in teacher.asked[0].body
    rationale = Rationale(row, answer_type("number"), "chat")
    assert (rationale.said, rationale.reasoning.strip(), rationale.thinking) == ("9", "7 + 2 = 9. So it is:", "Hm, 9.")
    assert "reasoning_content" not in row["completion"]


async def test_the_question_as_it_is() -> None:
    teacher = Teacher(lambda *_: "0 and 2 is 2. The answer is 2.")
    [row] = await explain(teacher, QUESTIONS[:1], TASK, Method(name="plain"), model_name="m")
    assert teacher.asked[0].messages == QUESTIONS[0].messages
    assert Rationale(row, answer_type("number"), Method(name="plain").template).reasoning == "0 and 2 is 2."


async def test_after_worked_examples() -> None:
    teacher = Teacher(lambda *_: " 0 and 2 is 2. The answer is 2.")
    [row] = await explain(
        teacher, QUESTIONS[:1], TASK, Method(name="fs_cot", examples="Q: 1 and 1?\nA: The answer is 2.\n"), model_name="m"
    )
    assert row["prompt"] == "Q: 1 and 1?\nA: The answer is 2.\n\nQ: 0 and 2?\nA:"
    assert teacher.asked[0].body["stop"] == ["\nQ:"]
    assert Rationale(row, answer_type("number"), "fs_cot").said == "2"


async def test_several_rationales_are_several_requests_at_the_papers_temperature() -> None:
    teacher = Teacher(steps)
    rows = await explain(teacher, QUESTIONS, TASK, Method(name="zs_cot", samples=3), model_name="m")
    assert [(row["sample_index"], row["completion_index"]) for row in rows] == [(i, j) for i in range(3) for j in range(3)]
    assert {request.body["temperature"] for request in teacher.asked[:9]} == {0.7}
    assert len(teacher.asked) == 18


async def test_what_is_there_is_not_asked_for_again() -> None:
    method = Method(name="zs_cot", samples=2, temperature=0.7)
    first = await explain(Teacher(steps), QUESTIONS[:2], TASK, method.model_copy(update={"samples": 1}), model_name="m")
    there = {(row["sample_index"], row["completion_index"]): row for row in first}
    del there[1, 0]["completion"]
    teacher = Teacher(steps)
    rows = await explain(teacher, QUESTIONS, TASK, method, model_name="m", there=there)
    assert len(rows) == 6
    assert all(row["completion"] == " 5." for row in rows)
    assert len(teacher.asked) == 4 + 5  # four rationales, and five answers


async def test_what_does_not_come_is_told() -> None:
    told: list[tuple[int, str]] = []
    teacher = Teacher(
        lambda prompt, _: None if "Therefore" in prompt and "1 and" in prompt or prompt.startswith("Q: 2") else " x"
    )
    rows = await explain(
        teacher,
        QUESTIONS,
        TASK,
        Method(name="zs_cot"),
        model_name="m",
        left_out=lambda question, why: told.append((question.index, why)),
    )
    assert told == [(2, "UpstreamError: it is down"), (1, "its answer: UpstreamError: it is down")]
    assert [(row["sample_index"], "completion" in row) for row in rows] == [(0, True), (1, False)]


@pytest.mark.parametrize("said", ["", " \n"])
async def test_an_empty_answer_is_none(said: str) -> None:
    told: list[str] = []
    assert (
        await explain(
            Teacher(lambda *_: said), QUESTIONS[:1], TASK, Method(), model_name="m", left_out=lambda _, why: told.append(why)
        )
        == []
    )
    assert told == ["its answer is empty"]


async def test_a_model_that_refuses_temperatures_gets_none() -> None:
    teacher = Teacher(steps)
    await explain(teacher, QUESTIONS[:1], TASK, Method(send_temperature=False), model_name="m")
    assert set(teacher.asked[0].body) == {"model", "messages"}

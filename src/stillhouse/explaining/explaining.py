"""Questions x method x asker -> completion samples, as the paper's files hold them, thinking in a field of its own.

The asker asks many things at once and keeps what comes, so that a run that dies goes on; this file knows neither where nor how.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from stillhouse.apply import Ask, Outcome
from stillhouse.chat import ChatRequest, Message
from stillhouse.explaining.methods import Method
from stillhouse.reasoning import ReasoningTask
from stillhouse.reasoning.thinking import Spoken, split_thinking
from stillhouse.transcript import message_text

Asker = Callable[[Sequence[Ask]], Awaitable[Sequence[Outcome]]]
"""The outcome of every ask, in order."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """What is to be explained."""

    index: int
    """`sample_index`."""
    messages: list[Message]
    answer: str = ""
    """The gold answer; '' where nobody knows it."""


class Said(NamedTuple):
    spoken: Spoken
    finish_reason: str | None


LeftOut = Callable[[Question, str], None]


async def explain(
    ask: Asker,
    questions: Sequence[Question],
    task: ReasoningTask,
    method: Method,
    *,
    model_name: str,
    there: Mapping[tuple[int, int], Row] | None = None,
    left_out: LeftOut | None = None,
) -> list[Row]:
    """`method.samples` rationales a question, by question and number; those that are `there` already are not asked for again,
    but for the answer where they have none yet.

    A question that could not be answered is told to `left_out`, once a rationale. Raises what `ask` raises.
    """
    there = there or {}
    wanted = [(question, number) for question in questions for number in range(method.samples)]
    missing = [(question, number) for question, number in wanted if (question.index, number) not in there]
    rows = [_begun(question, number, method, task) for question, number in missing]
    first = [
        _ask(method.first(q.messages, task), model_name, method.parameters(q.messages, number), number) for q, number in missing
    ]
    made = {key: dict(row) for key, row in there.items() if method.two_steps and "completion" not in row}
    for (question, number), row, said in zip(missing, rows, await _said(ask, first), strict=True):
        if isinstance(said, str):
            if left_out is not None:
                left_out(question, said)
        else:
            _add(row, said, "reasoning_" if method.two_steps else "")
            made[question.index, number] = row
    if method.two_steps:
        await _second_step(ask, made, task, method, model_name, left_out)
    found = {**there, **made}
    return [found[question.index, number] for question, number in wanted if (question.index, number) in found]


async def _second_step(
    ask: Asker,
    rows: Mapping[tuple[int, int], Row],
    task: ReasoningTask,
    method: Method,
    model_name: str,
    left_out: LeftOut | None,
) -> None:
    """Adds the answers. A row whose answer does not come keeps its reasoning: it can be asked for later."""
    asks = []
    for (_, number), row in rows.items():
        row["prompt"] = method.second(row, task)
        messages: list[Message] = [{"role": "user", "content": row["prompt"]}]
        question: list[Message] = [{"role": "user", "content": row["question"]}]
        asks.append(_ask(messages, model_name, method.parameters(question, number, answering=True), number))
    for row, said in zip(rows.values(), await _said(ask, asks), strict=True):
        if not isinstance(said, str):
            _add(row, said, "")
        elif left_out is not None:
            messages = [{"role": "user", "content": row["question"]}]
            left_out(Question(row["sample_index"], messages, row["answer"]), f"its answer: {said}")


def _begun(question: Question, number: int, method: Method, task: ReasoningTask) -> Row:
    prompt = message_text(method.first(question.messages, task)[-1])
    return {
        "sample_index": question.index,
        "completion_index": number,
        "question": message_text(question.messages[-1]) if question.messages else "",
        "answer": question.answer,
        "reasoning_prompt" if method.two_steps else "prompt": prompt,
    }


def _add(row: Row, said: Said, prefix: str) -> None:
    row[f"{prefix}completion"] = said.spoken.text
    row[f"{prefix}finish_reason"] = said.finish_reason
    if said.spoken.thinking and "thinking" not in row:
        row["thinking"] = said.spoken.thinking


def _ask(messages: list[Message], model_name: str, parameters: Mapping[str, Any], number: int) -> Ask:
    """Rationales of one question are asked for in the same words: their number tells them apart."""
    request = ChatRequest.build(model_name, messages, **parameters)
    return Ask(hashlib.sha256(request.raw + f"#{number}".encode()).hexdigest(), request)


async def _said(ask: Asker, asks: Sequence[Ask]) -> list[Said | str]:
    """What was said, or why nothing was."""
    return [_read(outcome) for outcome in await ask(asks)] if asks else []


def _read(outcome: Outcome) -> Said | str:
    response = outcome.response
    if response is None:
        return outcome.error or "it was not answered"
    choice = next(iter(response.choices), None)
    message = choice.get("message") if isinstance(choice, dict) else None
    if choice is None or not isinstance(message, dict):
        return "it holds no choice"
    reason = choice.get("finish_reason")
    spoken = split_thinking(message)
    if not spoken.text.strip() and not spoken.thinking:
        return "its answer is empty"
    return Said(spoken, reason if isinstance(reason, str) else None)

"""Dataset x teacher -> the same questions with the teacher's answers: durable answer by answer, resumed by asking again.

The model is handed in, and so is where outcomes are kept. Which answers are right is for `curation` to judge, with a grader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stillhouse.apply import Ask, Outcome, apply
from stillhouse.apply.asking import Progress
from stillhouse.chat import ChatModel, ChatRequest, ChatResponse
from stillhouse.dataset import Example, example_id

LeftOut = Callable[[Example, str], None]
"""Told about every example that has no usable answer, and why."""

Heard = Callable[[Example, ChatResponse], None]
"""Told about every example with its new answer, and all of the response."""


async def label(
    model: ChatModel,
    examples: Sequence[Example],
    *,
    model_name: str,
    parameters: Mapping[str, Any] | None = None,
    seen: Mapping[str, Outcome] | None = None,
    keep: Callable[[Outcome], None] | None = None,
    progress: Progress | None = None,
    left_out: LeftOut | None = None,
    heard: Heard | None = None,
    concurrency: int = 8,
) -> list[Example]:
    """Ask `model`, as `model_name`, every example's prompt; the examples with its answers, in order, without those left out.

    `parameters` are the API's (temperature, max_completion_tokens, ...). What `seen` answers is not asked; `keep` gets every
    outcome as it comes. An answer that was cut off, filtered or empty is no label and is left out, as is a failure.
    Raises PermissionRefusedError when the key is refused.
    """
    asks = [Ask.of(_request(example, model_name, parameters or {})) for example in examples]
    outcomes = await apply(model, asks, concurrency=concurrency, seen=seen, keep=keep, progress=progress)
    labelled = []
    for example, outcome in zip(examples, outcomes, strict=True):
        problem = outcome.error if outcome.response is None else _problem(outcome.response)
        if problem is None and outcome.response is not None:
            labelled.append(with_answer(example, outcome.response.text))
            if heard is not None:
                heard(labelled[-1], outcome.response)
        elif left_out is not None:
            left_out(example, problem or "")
    return labelled


def with_answer(example: Example, answer: str) -> Example:
    """The example with another answer, and the identity that gives it.

    An answer that came from a file was somebody's, not a model's: it becomes the reference, if there is none yet.
    """
    from_model = (example.source or "").startswith("completion:")
    reference = example.reference if example.reference is not None or from_model else example.answer or None
    identity = example_id(example.messages, answer, example.tools)
    return example.model_copy(update={"id": identity, "answer": answer, "reference": reference})


def _request(example: Example, model_name: str, parameters: Mapping[str, Any]) -> ChatRequest:
    tools = {"tools": example.tools} if example.tools else {}
    return ChatRequest.build(model_name, example.messages, **{**tools, **parameters})


def _problem(response: ChatResponse) -> str | None:
    """Why a response is no label, or None."""
    if not response.choices:
        return "it holds no choice"
    reason = response.choices[0].get("finish_reason")
    if reason != "stop":
        return f"its answer ended by '{reason}'"
    return None if response.text.strip() else "its answer is empty"

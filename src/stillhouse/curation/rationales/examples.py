"""Rationales <-> examples of a dataset: what a student learns to say, and the paper's row beside it, whole, for the way back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from stillhouse.chat import Message
from stillhouse.dataset import Example, Split, example_id
from stillhouse.prompts import prompt_hash
from stillhouse.reasoning import Rationale, Template
from stillhouse.reasoning.thinking import Spoken, with_thinking
from stillhouse.transcript import message_text

TrainOn = Literal["text", "thinking", "tagged"]
TRAIN_ON: tuple[TrainOn, ...] = ("text", "thinking", "tagged")
"""What becomes the reasoning: what was said; what was thought before it; or the thought between tags, then what was said."""
ROW = "row"
"""Metadata under which the paper's row stands, as JSON."""


def example_of_rationale(
    rationale: Rationale,
    task: str,
    *,
    template: Template | None = None,
    train_on: TrainOn = "text",
    messages: Sequence[Message] | None = None,
    split: Split = "train",
    weight: float = 1.0,
) -> Example:
    """A training row: by the paper's `template`, or, without one, the question as it is and "... The answer is X.".

    `metadata` keeps task, numbers, reasoning and answer one by one, for students that weigh them apart.
    """
    answer = rationale.answer or rationale.said or ""
    steps = _steps(rationale, train_on)
    filled = {"question": rationale.question, "answer": answer, "reasoning_completion": steps}
    if template is None:
        asked = list(messages) if messages else _asks(rationale.question)
        text = f"{steps}\nThe answer is {answer}.".lstrip("\n")
    else:
        asked, text = _asks(template.ask(filled)), template.teach(filled)
    metadata = {
        "task": task,
        "sample_index": str(rationale.sample),
        "completion_index": str(rationale.index),
        "template": "chat" if template is None else template.name,
        "rationale": steps,
        "final_answer": answer,
        ROW: json.dumps(dict(rationale.row), ensure_ascii=True),
    }
    return Example(
        id=example_id(asked, text),
        messages=asked,
        answer=text,
        reference=answer or None,
        split=split,
        group=prompt_hash(asked),
        source=f"file:{task}.json:{rationale.sample}#{rationale.index}",
        weight=weight,
        metadata=metadata,
    )


def question_example(
    question: Message | str, answer: str, task: str, sample: object, *, template: Template | None = None
) -> Example:
    """A question with its gold answer alone, as it is kept for the test: asked in the same words as the student is taught in."""
    text = question if isinstance(question, str) else message_text(question)
    asked = _asks(text if template is None else template.ask({"question": text}))
    row = {"sample_index": sample, "question": text, "answer": answer}
    metadata = {"task": task, "sample_index": str(sample), "final_answer": answer, ROW: json.dumps(row)}
    metadata["template"] = "chat" if template is None else template.name
    return Example(
        id=example_id(asked, answer),
        messages=asked,
        answer=answer,
        reference=answer or None,
        split="test",
        group=prompt_hash(asked),
        source=f"file:{task}.json:{sample}",
        metadata=metadata,
    )


def row_of_example(example: Example, number: int) -> dict[str, Any]:
    """The paper's row that an example was made of; of one that was not, a row made of it, numbered `number`."""
    kept = example.metadata.get(ROW)
    if kept is not None:
        row: dict[str, Any] = json.loads(kept)
        return row
    question = message_text(example.messages[-1]) if example.messages else ""
    answer = example.answer if example.reference is None else example.reference
    row = {"sample_index": number, "completion_index": 0, "question": question, "answer": answer, "prompt": question}
    return {**row, "completion": example.answer, "finish_reason": "stop"}


def _steps(rationale: Rationale, train_on: TrainOn) -> str:
    said = rationale.reasoning.strip()
    if train_on == "thinking":
        return rationale.thinking.strip() or said
    return with_thinking(Spoken(rationale.thinking.strip(), said)) if train_on == "tagged" else said


def _asks(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]

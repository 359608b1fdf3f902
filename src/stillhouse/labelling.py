"""Dataset x teacher -> the same questions with the teacher's answers: durable answer by answer, resumed by asking again.

The model is handed in, and so is where outcomes are kept. Which answers are right is for `curation` to judge, with a grader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from stillhouse.apply import Ask, Outcome, apply
from stillhouse.apply.asking import Progress
from stillhouse.chat import ChatModel, ChatRequest
from stillhouse.dataset import Example, example_id
from stillhouse.prompts import sample_seed
from stillhouse.records import Record

UNASKED = "not asked"
"""Why a question has no answer that was never asked: the budget was spent, or somebody stopped it."""

LeftOut = Callable[[Example, str], None]
"""Told about every answer that is not usable (of several samples, each), and why."""

Heard = Callable[[Example, Outcome], None]
"""Told about every example with its new answer, and all that came with it."""


class Plan(Record):
    """What every question is asked with."""

    model: str
    """As the teacher is asked for it."""
    parameters: dict[str, Any] = {}
    """The API's (temperature, max_completion_tokens, ...)."""
    samples: int = Field(default=1, ge=1)
    """Answers to each question."""
    seed: int | None = None
    """Each sample of each question is sent its own, drawn by this one (`prompts.sample_seed`). None: none is sent."""

    def asks(self, example: Example) -> list[Ask]:
        """One for each sample. Each is a request of its own, so that each answer is kept as it comes."""
        return [Ask.of(self._request(example, sample), sample) for sample in range(self.samples)]

    def _request(self, example: Example, sample: int) -> ChatRequest:
        seed = {} if self.seed is None else {"seed": sample_seed(self.seed, example.messages, sample)}
        tools = {"tools": example.tools} if example.tools else {}
        return ChatRequest.build(self.model, example.messages, **self.parameters, **seed, **tools)


def asks_of(examples: Iterable[Example], plan: Plan) -> Iterator[Ask]:
    """Every sample of every question, one by one."""
    for example in examples:
        yield from plan.asks(example)


def answers(
    examples: Iterable[Example],
    plan: Plan,
    outcome: Callable[[str], Outcome | None],
    *,
    left_out: LeftOut | None = None,
    heard: Heard | None = None,
) -> Iterator[Example]:
    """The examples with the teacher's answers, in order, without those left out.

    `outcome` finds what became of an ask by its key. An answer that was cut off, filtered or empty is no label and is left out,
    as is a failure.
    """
    for example in examples:
        for ask in plan.asks(example):
            found = outcome(ask.key)
            problem = problem_of(found)
            if problem is not None:
                if left_out is not None:
                    left_out(example, problem)
            elif found is not None and found.response is not None:
                labelled = with_answer(example, found.response.text)
                if heard is not None:
                    heard(labelled, found)
                yield labelled


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
    """Ask `model`, as `model_name`, every example's prompt; the examples with its answers, all of them in memory.

    What `seen` answers is not asked; `keep` gets every outcome as it comes. Raises PermissionRefusedError for a refused key.
    """
    plan = Plan(model=model_name, parameters=dict(parameters or {}))
    asks = list(asks_of(examples, plan))
    outcomes = await apply(model, asks, concurrency=concurrency, seen=seen, keep=keep, progress=progress)
    found = {outcome.key: outcome for outcome in outcomes}
    return list(answers(examples, plan, found.get, left_out=left_out, heard=heard))


def with_answer(example: Example, answer: str) -> Example:
    """The example with another answer, and the identity that gives it.

    An answer that came from a file was somebody's, not a model's: it becomes the reference, if there is none yet.
    """
    from_model = (example.source or "").startswith("completion:")
    reference = example.reference if example.reference is not None or from_model else example.answer or None
    identity = example_id(example.messages, answer, example.tools)
    return example.model_copy(update={"id": identity, "answer": answer, "reference": reference})


def problem_of(outcome: Outcome | None) -> str | None:
    """Why an outcome is no label, in words that many share; None for a label."""
    if outcome is None:
        return UNASKED
    response = outcome.response
    if response is None:
        return f"no answer: {outcome.kind or 'refused'}"
    if not response.choices:
        return "it holds no choice"
    reason = response.choices[0].get("finish_reason")
    if reason != "stop":
        return f"its answer ended by '{reason}'"
    return None if response.text.strip() else "its answer is empty"

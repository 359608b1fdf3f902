"""What one candidate says to every example, and the grades it gets: rows. What they add up to is `scoring`'s."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillhouse.answers import final_answer
from stillhouse.apply import Ask, Outcome, Patience, apply
from stillhouse.chat import ChatModel, ChatRequest
from stillhouse.dataset import Example
from stillhouse.grade import Answered, Grade, Grader, GradingError
from stillhouse.records import Record
from stillhouse.sample import expected, item_of, sample_of_response

LONGEST_LABEL = 64
"""Characters; a longer reference is no label."""


@dataclass(frozen=True)
class Candidate:
    """One model under evaluation."""

    role: str
    """`teacher`, `student`, `base`, `control`, ..."""
    name: str
    """The model id that is asked for."""
    model: ChatModel
    parameters: int | None = None
    size_bytes: int | None = None
    local: bool = False
    """Runs on this machine: costs time, not tokens."""


class Plan(Record):
    """What is evaluated and how; it ends up in the report, so that the report says how its numbers came to be."""

    name: str
    dataset: str
    """Fingerprint."""
    split: str = "test"
    slices: tuple[str, ...] = ()
    """Metadata keys to report by, besides the label."""
    max_tokens: int = 256
    temperature: float | None = 0.0
    """None: not sent, for models that refuse it."""
    concurrency: int = 1
    """Requests under way at once. Latencies are measured under this load: with 1 they are those of a lone request."""
    seed: int = 0
    """Of the bootstrap."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The API's parameters of every request: as deterministic as the API lets one ask for."""
        temperature = {} if self.temperature is None else {"temperature": self.temperature}
        return {**temperature, "max_completion_tokens": self.max_tokens}


@dataclass(frozen=True)
class Memory:
    """What is known from before and where new outcomes go, so that an evaluation that was killed goes on."""

    seen: Mapping[str, Outcome] | None = None
    keep: Callable[[Outcome], None] | None = None


async def answer_all(
    candidate: Candidate,
    examples: Sequence[Example],
    graders: Sequence[Grader],
    plan: Plan,
    memory: Memory,
    progress: Callable[[int, int], None] | None = None,
) -> list[Answered]:
    """Ask the candidate every example, in rows in the order of `examples`; as many are graded at once as are asked at once.

    A grader's failure is never a 0: where it is about one answer, the row says so (`ungraded`); any other is raised.
    """
    asks = [Ask.of(_request(candidate, example, plan)) for example in examples]
    if candidate.local:
        await apply(candidate.model, asks[:1])  # loads it: seconds that no request waits for in production
    outcomes = await apply(
        candidate.model,
        asks,
        concurrency=plan.concurrency,
        patience=Patience(),
        seen=memory.seen,
        keep=memory.keep,
        progress=progress,
    )
    turns = asyncio.Semaphore(max(1, plan.concurrency))

    async def row(example: Example, outcome: Outcome) -> Answered:
        async with turns:
            return await _row(candidate, example, outcome, graders)

    return await asyncio.gather(*map(row, examples, outcomes))


def label_of(example: Example) -> str | None:
    """The final answer of what is expected, when it is short enough to be a label."""
    label = final_answer(expected(example))
    return label if 0 < len(label) <= LONGEST_LABEL else None


def _request(candidate: Candidate, example: Example, plan: Plan) -> ChatRequest:
    tools = {"tools": example.tools} if example.tools else {}
    return ChatRequest.build(candidate.name, example.messages, **plan.parameters, **tools)


async def _row(candidate: Candidate, example: Example, outcome: Outcome, graders: Sequence[Grader]) -> Answered:
    response, error = outcome.response, outcome.error
    if response is not None and not response.choices:
        response, error = None, "The answer holds no choice."
    grades: dict[str, Grade] = {}
    ungraded: dict[str, str] = {}
    for grader in graders if response is not None else ():
        assert response is not None
        try:
            grades[grader.name] = await grader.grade(item_of(example), sample_of_response(response))
        except GradingError as exc:
            ungraded[grader.name] = f"{exc.fault}: {exc}"
    return Answered(
        example=example.id,
        model=candidate.name,
        answer=None if response is None else response.text,
        error=error,
        grades=grades,
        ungraded=ungraded,
        latency_ms=outcome.latency_ms,
        prompt_tokens=response.usage.prompt_tokens if response else None,
        completion_tokens=response.usage.completion_tokens if response else None,
        label=label_of(example),
        metadata=example.metadata,
    )

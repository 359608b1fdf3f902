"""What one candidate says to every example, and the grades it gets: rows. What they add up to is `scoring`'s."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillhouse.answers import final_answer
from stillhouse.apply import Ask, Outcome, Patience, apply
from stillhouse.chat import ChatModel, ChatRequest
from stillhouse.dataset import Example
from stillhouse.grade import Answered, Grader
from stillhouse.graders.base import expected
from stillhouse.records import Record

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
    """Ask the candidate every example, in rows in the order of `examples`. Raises what graders raise: theirs is never a 0."""
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
    return [await _row(candidate, example, outcome, graders) for example, outcome in zip(examples, outcomes, strict=True)]


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
    answer = None if response is None else response.text
    return Answered(
        example=example.id,
        model=candidate.name,
        answer=answer,
        error=error,
        grades={} if answer is None else {grader.name: await grader.grade(example, answer) for grader in graders},
        latency_ms=outcome.latency_ms,
        prompt_tokens=response.usage.prompt_tokens if response else None,
        completion_tokens=response.usage.completion_tokens if response else None,
        label=label_of(example),
        metadata=example.metadata,
    )

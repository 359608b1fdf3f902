"""What one candidate says to every example, and the grades it gets: rows. What they add up to is `scoring`'s."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from stillhouse.apply import Ask, Outcome, Patience, apply
from stillhouse.chat import ChatModel, ChatRequest, ChatResponse
from stillhouse.dataset import Example
from stillhouse.evaluation.cases import Case, described
from stillhouse.grade import Answered, Grade, Grader, GradingError, TokenUsage, added
from stillhouse.records import Record
from stillhouse.sample import Item, Sample
from stillhouse.students.texts import naming_task


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
    told_task: bool = False
    """Knows several tasks apart, by the system message: where an example's metadata alone says its task, it is told."""


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
    samples: int = Field(default=1, ge=1)
    """Answers to each question; of several, the one that most of them come to counts (self-consistency)."""
    concurrency: int = 1
    """Requests under way at once. Latencies are measured under this load: with 1 they are those of a lone request."""
    seed: int = 0
    """Of the bootstrap."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The API's parameters of every request: as deterministic as the API lets one ask for."""
        temperature = {} if self.temperature is None else {"temperature": self.temperature}
        several = {} if self.samples == 1 else {"n": self.samples}
        return {**temperature, "max_completion_tokens": self.max_tokens, **several}


@dataclass(frozen=True)
class Memory:
    """What is known from before and where new outcomes go, so that an evaluation that was killed goes on."""

    seen: Mapping[str, Outcome] | None = None
    keep: Callable[[Outcome], None] | None = None


async def answer_all(
    candidate: Candidate,
    cases: Sequence[Case],
    graders: Sequence[Grader],
    plan: Plan,
    memory: Memory,
    progress: Callable[[int, int], None] | None = None,
    *,
    whole: bool = False,
) -> list[Answered]:
    """Ask the candidate about every case that has a request, in rows in the order of `cases`; grade as many at once as are asked.

    `whole` rows hold the item and the sample, too. A grader's failure is never a 0: where it is about one answer, the row says so
    (`ungraded`); any other is raised.
    """
    asks = {case.id: Ask.of(case.request) for case in cases if case.request is not None}
    outcomes = await apply(
        candidate.model,
        list(asks.values()),
        concurrency=plan.concurrency,
        patience=Patience(),
        seen=memory.seen,
        keep=memory.keep,
        progress=progress,
    )
    of_case = dict(zip(asks, outcomes, strict=True))
    turns = asyncio.Semaphore(max(1, plan.concurrency))

    async def row(case: Case) -> Answered:
        async with turns:
            return await _row(candidate.name, case, of_case.get(case.id), graders, whole=whole)

    return await asyncio.gather(*map(row, cases))


async def warm(candidate: Candidate, cases: Sequence[Case]) -> None:
    """Load a model that runs here: seconds that no request waits for in production."""
    first = next((case.request for case in cases if case.request is not None), None)
    if candidate.local and first is not None:
        await apply(candidate.model, [Ask.of(first)])


def request_for(candidate: Candidate, example: Example, plan: Plan) -> ChatRequest:
    """What a candidate is asked about an example."""
    tools = {"tools": example.tools} if example.tools else {}
    messages = naming_task(example) if candidate.told_task else example.messages
    return ChatRequest.build(candidate.name, messages, **plan.parameters, **tools)


async def _row(model: str, case: Case, outcome: Outcome | None, graders: Sequence[Grader], *, whole: bool) -> Answered:
    response = None if outcome is None else outcome.response
    error = case.error if outcome is None else outcome.error
    if response is not None and not response.choices:
        response, error = None, "The answer holds no choice."
    sample = _sample(model, case, response)
    grades, failures = await _graded(case.item, sample, graders if error is None else ())
    wasted: dict[str, TokenUsage] = {}
    for failure in failures.values():
        wasted = added(wasted, failure.usage)
    return Answered(
        example=case.id,
        model=model,
        answer=None if error is not None else str(sample.get("output_text") or ""),
        error=error,
        grades=grades,
        ungraded={name: f"{failure.fault}: {failure}" for name, failure in failures.items()},
        judged_in_vain=wasted,
        latency_ms=None if outcome is None else outcome.latency_ms,
        prompt_tokens=response.usage.prompt_tokens if response else None,
        completion_tokens=response.usage.completion_tokens if response else None,
        label=case.label,
        metadata=dict(case.metadata),
        item=dict(case.item) if whole else None,
        sample=dict(sample) if whole else None,
        completion=case.completion,
    )


def _sample(model: str, case: Case, response: ChatResponse | None) -> Sample:
    if response is None:
        asked = {} if case.request is None else {"input": case.request.messages}
        return {**asked, **case.sample}
    assert case.request is not None
    return {**case.sample, **described(response, case.request.messages, model)}


async def _graded(item: Item, sample: Sample, graders: Sequence[Grader]) -> tuple[dict[str, Grade], dict[str, GradingError]]:
    grades: dict[str, Grade] = {}
    failures: dict[str, GradingError] = {}
    for grader in graders:
        try:
            grades[grader.name] = await grader.grade(item, sample)
        except GradingError as exc:
            failures[grader.name] = exc
    return grades, failures

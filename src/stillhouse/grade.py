"""Grades and reports, and the protocol of who gives grades."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from stillhouse.errors import StillhouseError
from stillhouse.records import Record
from stillhouse.sample import Item, Sample


class TokenUsage(Record):
    """What judging took of one model."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )


def added(first: Mapping[str, TokenUsage], second: Mapping[str, TokenUsage]) -> dict[str, TokenUsage]:
    """Both accounts as one, model by model."""
    return {model: first.get(model, TokenUsage()) + second.get(model, TokenUsage()) for model in [*first, *second]}


class Grade(Record):
    score: float
    """0 to 1, unless the grader was given another range."""
    passed: bool
    reason: str = ""
    parts: dict[str, float] = {}
    """Scores of the graders that this one combines, by name."""
    usage: dict[str, TokenUsage] = {}
    """By judge model."""
    details: dict[str, Any] = {}
    """How the score came about: the metric's exact rule, the judge's label, ..."""


Fault = Literal[
    "formula_parse_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
    "invalid_variable_error",
    "other_error",
    "python_grader_server_error",
    "python_grader_runtime_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
]
"""Why there is no grade, in the words of OpenAI's `graders.run`."""


class GradingError(StillhouseError):
    """A grader could not grade this sample. Not the sample's fault, so not a 0; what it has cost until then is in `usage`."""

    http_status = 422

    def __init__(
        self,
        message: str,
        fault: Fault = "other_error",
        *,
        parts: Mapping[str, float] | None = None,
        usage: Mapping[str, TokenUsage] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = self.fault = fault
        self.parts = dict(parts or {})
        self.usage = dict(usage or {})


class Grader(Protocol):
    """Gives one answer a grade. A grader that cannot work raises GradingError; it never returns 0 for its own failure."""

    name: str

    async def grade(self, item: Item, sample: Sample) -> Grade: ...


class Answered(Record):
    """One row of an evaluation: what one model said to one example, and the grades it got."""

    example: str
    model: str
    answer: str | None
    """None when the model failed; `error` says how. A failure counts as wrong and is counted apart."""
    error: str | None = None
    grades: dict[str, Grade] = {}
    ungraded: dict[str, str] = {}
    """Grader -> why it could not grade this answer. Such a row counts neither as right nor as wrong for it."""
    judged_in_vain: dict[str, TokenUsage] = {}
    """What judges took, by model, where no grade came of it."""
    latency_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    label: str | None = None
    metadata: dict[str, str] = {}
    item: dict[str, Any] | None = None
    """What was judged, and the sample below, where the rows are all there is: those of a dataset's examples can be read there."""
    sample: dict[str, Any] | None = None
    completion: str | None = None
    """The stored completion that the row was made of; with it, the row's texts go."""


class Interval(Record):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


class NumberFit(Record):
    """How far answers that are numbers are from labels that are numbers."""

    answers: int
    """So many were numbers."""
    root_mean_square: float
    """Of the differences, in the labels' unit."""
    correlation: float | None = None
    """Pearson's. None where all answers, or all labels, are the same."""


class ModelResult(Record):
    model: str
    role: str
    """`teacher`, `student`, `base`, `control`, ..."""
    accuracy: dict[str, Interval]
    """By grader."""
    scores: dict[str, Interval] = {}
    """Mean score by grader, where scores are not only 0 and 1. Of a pairwise judge: the win rate against the teacher."""
    judging: dict[str, TokenUsage] = {}
    """What judges took of each model to grade this one's answers."""
    judging_cost: float | None = None
    """In the currency of the prices file; not in `cost`."""
    slices: dict[str, dict[str, Interval]] = {}
    """`label=card_arrival` -> grader -> accuracy."""
    numbers: NumberFit | None = None
    """Where every label is a number: a student of a regression is near, and hardly ever equal."""
    agreement: float | None = None
    """Share of examples whose answer equals the teacher's after normalising."""
    failed: int = 0
    ungraded: dict[str, int] = {}
    """Grader -> answers that it could not grade; its accuracy is about the others."""
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    """In the currency of the prices file, for the whole evaluation; local models by time."""
    parameters: int | None = None
    size_bytes: int | None = None


class Difference(Record):
    """Accuracy of `model` minus that of `baseline`, paired by example."""

    model: str
    baseline: str
    grader: str
    delta: Interval


class Report(Record):
    id: str
    name: str
    created: int
    dataset: str
    """Fingerprint."""
    split: str
    examples: int
    graders: tuple[str, ...]
    results: tuple[ModelResult, ...]
    differences: tuple[Difference, ...] = ()
    rows_file: str | None = None
    """sha256 of the file with every `Answered`, in the content-addressed files."""
    settings: dict[str, Any] = {}

"""Grades and reports, and the protocol of who gives grades."""

from __future__ import annotations

from typing import Any, Protocol

from stillhouse.dataset import Example
from stillhouse.records import Record


class Grade(Record):
    score: float
    """0 to 1."""
    passed: bool
    reason: str = ""


class Grader(Protocol):
    """Gives one answer a grade. A grader that cannot work raises; it never returns 0 for its own failure."""

    name: str

    async def grade(self, example: Example, answer: str) -> Grade: ...


class Answered(Record):
    """One row of an evaluation: what one model said to one example, and the grades it got."""

    example: str
    model: str
    answer: str | None
    """None when the model failed; `error` says how. A failure counts as wrong and is counted apart."""
    error: str | None = None
    grades: dict[str, Grade] = {}
    latency_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    label: str | None = None
    metadata: dict[str, str] = {}


class Interval(Record):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


class ModelResult(Record):
    model: str
    role: str
    """`teacher`, `student`, `base`, `control`, ..."""
    accuracy: dict[str, Interval]
    """By grader."""
    slices: dict[str, dict[str, Interval]] = {}
    """`label=card_arrival` -> grader -> accuracy."""
    agreement: float | None = None
    """Share of examples whose answer equals the teacher's after normalising."""
    failed: int = 0
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

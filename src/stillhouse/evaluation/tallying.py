"""What rows add up to while they come: how they stand, what each grader said, what every model took. Sums only, no intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stillhouse.evaluation.blocks import Standing, standing_of
from stillhouse.grade import Answered
from stillhouse.records import Record


class Count(Record):
    """Of one grader."""

    passed: int = 0
    failed: int = 0
    errored: int = 0
    """Rows that it could not grade, or that had no answer."""


class Spent(Record):
    """By one model, as judge or candidate."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(**{name: getattr(self, name) + getattr(other, name) for name in Spent.model_fields})


class Tally(Record):
    standings: dict[Standing, int] = {}
    graders: dict[str, Count] = {}
    usage: dict[str, Spent] = {}

    def plus(self, rows: Iterable[Answered], graders: Iterable[str]) -> Tally:
        """With some rows more. `graders` are those that graded them."""
        standings, counts, usage = dict(self.standings), dict(self.graders), dict(self.usage)
        names = list(graders)
        for row in rows:
            standings[standing_of(row)] = standings.get(standing_of(row), 0) + 1
            for name in names:
                counts[name] = _counted(counts.get(name, Count()), row, name)
            for model, spent in _spent(row):
                usage[model] = usage.get(model, Spent()) + spent
        return Tally(standings=standings, graders=counts, usage=usage)

    @property
    def rows(self) -> int:
        return sum(self.standings.values())


def _counted(count: Count, row: Answered, grader: str) -> Count:
    grade = row.grades.get(grader)
    field = "errored" if grade is None else "passed" if grade.passed else "failed"
    return count.model_copy(update={field: getattr(count, field) + 1})


def _spent(row: Answered) -> Iterable[tuple[str, Spent]]:
    if row.latency_ms is not None:
        yield (
            row.model,
            Spent(
                requests=1,
                prompt_tokens=row.prompt_tokens or 0,
                completion_tokens=row.completion_tokens or 0,
                cached_tokens=cached_tokens((row.sample or {}).get("usage")),
            ),
        )
    for usage in (*(grade.usage for grade in row.grades.values()), row.judged_in_vain):
        for model, tokens in usage.items():
            yield model, Spent(**tokens.model_dump())


def cached_tokens(usage: Any) -> int:
    """Prompt tokens that the answering server had cached, of a response's usage."""
    details = usage.get("prompt_tokens_details") if isinstance(usage, Mapping) else None
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    return cached if isinstance(cached, int) else 0

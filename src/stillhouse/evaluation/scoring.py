"""What rows add up to: accuracy whole and by slice, agreement with the teacher, latency, tokens, cost. Pure; asks nobody.

A failed answer counts as wrong, in every share, and is counted apart. An answer that a grader could not grade counts for nothing:
it is left out of that grader's shares, and of pairs, and counted apart as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from stillhouse.answers import final_answer, normalise
from stillhouse.chat import Usage
from stillhouse.evaluation.answering import Candidate, Plan
from stillhouse.evaluation.intervals import mean, paired_difference, percentile, share
from stillhouse.evaluation.numbers import number_fit
from stillhouse.grade import Answered, Difference, Interval, ModelResult, TokenUsage, added
from stillhouse.prices import Prices

SMALLEST_LABEL = 5
"""Rows; labels with fewer have no slice of their own. Metadata keys were asked for: all their values have one."""


def passed(row: Answered, grader: str) -> bool:
    """Whether an answer came and the grader passed it."""
    return grader in row.grades and row.grades[grader].passed


def graded(rows: Sequence[Answered], grader: str) -> list[Answered]:
    """The rows that say something about who is right: all but those that the grader could not grade."""
    return [row for row in rows if grader not in row.ungraded]


def result(
    candidate: Candidate,
    rows: Sequence[Answered],
    graders: Sequence[str],
    plan: Plan,
    *,
    teacher: Sequence[Answered] | None = None,
    prices: Prices | None = None,
) -> ModelResult:
    """One candidate's line of the report. `teacher`: the teacher's rows about the same examples, in the same order."""
    latencies = [row.latency_ms for row in rows if row.latency_ms is not None]
    judging = _judging(rows)
    return ModelResult(
        model=candidate.name,
        role=candidate.role,
        accuracy=_accuracy(rows, graders),
        scores=_scores(rows, graders, plan.seed),
        judging=judging,
        judging_cost=None if prices is None or not judging else _judging_cost(judging, prices),
        slices={key: _accuracy(members, graders) for key, members in sliced(rows, plan.slices).items()},
        numbers=number_fit(rows),
        agreement=None if teacher is None else agreement(rows, teacher),
        failed=sum(row.answer is None for row in rows),
        ungraded={grader: missing for grader in graders if (missing := sum(grader in row.ungraded for row in rows))},
        latency_p50_ms=percentile(latencies, 0.5),
        latency_p95_ms=percentile(latencies, 0.95),
        prompt_tokens=sum(row.prompt_tokens or 0 for row in rows),
        completion_tokens=sum(row.completion_tokens or 0 for row in rows),
        cost=None if prices is None else _cost(candidate, rows, sum(latencies) / 1000 / plan.concurrency, prices),
        parameters=candidate.parameters,
        size_bytes=candidate.size_bytes,
    )


def sliced(rows: Sequence[Answered], keys: Sequence[str]) -> dict[str, list[Answered]]:
    """Rows by `label=...` and by `key=...` for every metadata key asked for, largest slice first within each."""
    labels = Counter(row.label for row in rows)
    groups: dict[str, list[Answered]] = {}
    for row in sorted(rows, key=lambda row: (-labels[row.label], row.label or "")):
        if row.label is not None and labels[row.label] >= SMALLEST_LABEL:
            groups.setdefault(f"label={row.label}", []).append(row)
    for key in keys:
        values = Counter(row.metadata[key] for row in rows if key in row.metadata)
        for value, _ in sorted(values.items(), key=lambda item: (-item[1], item[0])):
            groups[f"{key}={value}"] = [row for row in rows if row.metadata.get(key) == value]
    return groups


def agreement(rows: Sequence[Answered], teacher: Sequence[Answered]) -> float | None:
    """Share of the examples the teacher answered where the final answers are the same after normalising; right or wrong."""
    pairs = [(row.answer, its.answer) for row, its in zip(rows, teacher, strict=True) if its.answer is not None]
    same = [answer is not None and _final(answer) == _final(its) for answer, its in pairs]
    return sum(same) / len(same) if same else None


def differences(
    by_model: dict[str, Sequence[Answered]], first: str, graders: Sequence[str], *, seed: int = 0
) -> tuple[Difference, ...]:
    """Accuracy of the model `first` minus that of every other, paired by example."""
    found = []
    for other, rows in by_model.items():
        for grader in graders if other != first else ():
            pairs = [pair for pair in zip(by_model[first], rows, strict=True) if len(graded(pair, grader)) == len(pair)]
            if pairs:
                verdicts = [[passed(pair[side], grader) for pair in pairs] for side in (0, 1)]
                delta = paired_difference(*verdicts, seed=seed)
                found.append(Difference(model=first, baseline=other, grader=grader, delta=delta))
    return tuple(found)


def _accuracy(rows: Sequence[Answered], graders: Sequence[str]) -> dict[str, Interval]:
    """By grader; one that could grade none of the rows is not in it."""
    counted = {grader: graded(rows, grader) for grader in graders}
    return {grader: share(sum(passed(row, grader) for row in its), len(its)) for grader, its in counted.items() if its}


def _scores(rows: Sequence[Answered], graders: Sequence[str], seed: int) -> dict[str, Interval]:
    """Mean scores, of the graders that say more than right or wrong."""
    found = {}
    for grader in graders:
        counted = [row.grades[grader].score if grader in row.grades else 0.0 for row in graded(rows, grader)]
        if any(score not in (0.0, 1.0) for score in counted):
            found[grader] = mean(counted, seed=seed)
    return found


def _judging(rows: Sequence[Answered]) -> dict[str, TokenUsage]:
    usage: dict[str, TokenUsage] = {}
    for row in rows:
        for spent in (*(grade.usage for grade in row.grades.values()), row.judged_in_vain):
            usage = added(usage, spent)
    return usage


def _judging_cost(judging: Mapping[str, TokenUsage], prices: Prices) -> float | None:
    """None where a judge has no price."""
    used = {model: Usage(its.prompt_tokens, its.completion_tokens) for model, its in judging.items()}
    costs = [prices.cost(model, usage, 0.0) for model, usage in used.items()]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def _cost(candidate: Candidate, rows: Sequence[Answered], seconds: float, prices: Prices) -> float | None:
    """By tokens where every answer said how many it took; by the time the machine was busy for local models."""
    answered = [row for row in rows if row.answer is not None]
    prompt = [row.prompt_tokens for row in answered if row.prompt_tokens is not None]
    completion = [row.completion_tokens for row in answered if row.completion_tokens is not None]
    known = len(prompt) == len(completion) == len(answered)
    usage = Usage(sum(prompt), sum(completion)) if known else Usage()
    return prices.cost(candidate.name, usage, seconds, local=candidate.local)


def _final(answer: str) -> str:
    return normalise(final_answer(answer))

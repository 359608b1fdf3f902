"""The verb itself: candidates x examples x graders -> a Report, and the rows behind it.

Everything is handed in, built; storing the report is `keeping`'s. Candidates answer one after the other, so that no one's latency
is another one's load.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from stillhouse.apply import Outcome
from stillhouse.dataset import Example
from stillhouse.errors import UsageError
from stillhouse.evaluation.answering import Candidate, Memory, Plan, answer_all, request_for, warm
from stillhouse.evaluation.cases import case_of
from stillhouse.evaluation.scoring import differences, graded, result, sliced
from stillhouse.grade import Answered, Grader, GradingError, ModelResult, Report
from stillhouse.ids import new_id
from stillhouse.prices import Prices

TEACHER = "teacher"
STUDENT = "student"

Progress = Callable[[str, int, int], None]
"""Called with the model's name, how many examples are done, and of how many."""


async def evaluate(
    plan: Plan,
    candidates: Sequence[Candidate],
    examples: Sequence[Example],
    graders: Sequence[Grader],
    *,
    prices: Prices | None = None,
    memory: Memory | None = None,
    progress: Progress | None = None,
) -> tuple[Report, list[Answered]]:
    """Evaluate all candidates on all examples. The rows come candidate by candidate, each in the order of `examples`.

    Raises UsageError when there is nothing to evaluate or a model is named twice, PermissionRefusedError when a key is refused,
    GradingError when a grader could grade none of a candidate's answers, and what else a grader raises.
    """
    _check(candidates, examples, graders)
    names = [grader.name for grader in graders]
    memory, teacher = memory or Memory(), next((candidate for candidate in candidates if candidate.role == TEACHER), None)
    theirs: dict[str, str] = {}
    if teacher is not None:  # first: graders see its answers
        theirs, memory = await _teachers_answers(teacher, examples, plan, memory, _told(progress, teacher.name))
    rows: dict[str, list[Answered]] = {}
    for candidate in candidates:
        cases = [case_of(example, request_for(candidate, example, plan), theirs.get(example.id)) for example in examples]
        await warm(candidate, cases)
        rows[candidate.name] = await answer_all(candidate, cases, graders, plan, memory, _told(progress, candidate.name))
        _check_graded(rows[candidate.name], names)
    results = tuple(
        result(
            candidate,
            rows[candidate.name],
            names,
            plan,
            teacher=rows[teacher.name] if teacher not in (None, candidate) else None,
            prices=prices,
        )
        for candidate in candidates
    )
    report = Report(
        id=new_id("report"),
        name=plan.name,
        created=int(time.time()),
        dataset=plan.dataset,
        split=plan.split,
        examples=len(examples),
        graders=tuple(names),
        results=results,
        differences=differences(dict(rows), _headline(results).model, names, seed=plan.seed),
        settings=_settings(plan, rows[candidates[0].name], prices),
    )
    return report, [row for candidate in candidates for row in rows[candidate.name]]


async def _teachers_answers(
    teacher: Candidate, examples: Sequence[Example], plan: Plan, memory: Memory, progress: Callable[[int, int], None] | None
) -> tuple[dict[str, str], Memory]:
    """Example's id -> its answer, and a memory that holds them, so that it is not asked again."""
    cases = [case_of(example, request_for(teacher, example, plan)) for example in examples]
    seen = dict(memory.seen or {})

    def keep(outcome: Outcome) -> None:
        seen[outcome.key] = outcome
        if memory.keep is not None:
            memory.keep(outcome)

    await warm(teacher, cases)
    rows = await answer_all(teacher, cases, (), plan, Memory(seen, keep), progress)
    return {row.example: row.answer for row in rows if row.answer is not None}, Memory(seen, memory.keep)


def headline(report: Report) -> ModelResult:
    """Whom the report is about: the student, or the first model when there is none."""
    return _headline(report.results)


def _headline(results: Sequence[ModelResult]) -> ModelResult:
    return next((each for each in results if each.role == STUDENT), results[0])


def _told(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(name, done, total)


def _settings(plan: Plan, rows: Sequence[Answered], prices: Prices | None) -> dict[str, object]:
    load = "one request at a time" if plan.concurrency == 1 else f"{plan.concurrency} requests at a time"
    return {
        **plan.model_dump(mode="json", exclude={"name", "dataset", "split"}),
        "latency": f"whole answers, {load}",
        "interval": "95 %; accuracy: Wilson; difference: paired bootstrap",
        "slice_sizes": {key: len(members) for key, members in sliced(rows, plan.slices).items()},
        "currency": None if prices is None else prices.currency,
    }


def _check_graded(rows: Sequence[Answered], graders: Sequence[str]) -> None:
    for grader in graders:
        if not graded(rows, grader):
            reason = rows[0].ungraded[grader]
            raise GradingError(
                f"The grader '{grader}' could grade none of the {len(rows)} answers of '{rows[0].model}': {reason}"
            )


def _check(candidates: Sequence[Candidate], examples: Sequence[Example], graders: Sequence[Grader]) -> None:
    if not candidates:
        raise UsageError("There is no model to evaluate. Name one, e.g. --student ID.")
    if not examples:
        raise UsageError("There is no example to evaluate on: the split is empty. Splits are train, valid and test.")
    if not graders:
        raise UsageError("There is no grader. Name one, e.g. --grader exact.")
    names = [candidate.name for candidate in candidates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"'{twice[0]}' is named for two roles; a model is evaluated once.")

from __future__ import annotations

from stillhouse.evaluation import Candidate, compare, evaluate
from stillhouse.grade import Answered, Report
from stillhouse.graders.answer import Answer
from stillhouse.graders.exact import Exact
from tests.evaluation.models import PLAN, Speaker, example

EXAMPLES = [example(n, "yes" if n % 2 else "no") for n in range(40)]


def right_up_to(bound: int) -> Candidate:
    def says(question: str) -> str:
        number = int(question.split()[-1])
        return EXAMPLES[number].answer if number < bound else "?"

    return Candidate("student", f"student-{bound}", Speaker(says))


async def evaluated(candidate: Candidate, start: int = 0, stop: int = 40) -> tuple[Report, list[Answered]]:
    return await evaluate(PLAN, [candidate], EXAMPLES[start:stop], [Exact()])


async def test_the_same_examples_are_paired_whatever_the_models_are_called() -> None:
    (first, first_rows), (second, second_rows) = await evaluated(right_up_to(20)), await evaluated(right_up_to(30))
    (change,) = compare(first, second, first_rows, second_rows)
    assert (change.before, change.after, change.role, change.grader) == ("student-20", "student-30", "student", "exact")
    assert change.paired
    assert (change.examples, change.fixed, change.broken) == (40, 10, 0)
    assert change.delta.value == 0.25
    assert 0 < change.delta.low < 0.25 < change.delta.high


async def test_nothing_changed_is_nothing() -> None:
    report, rows = await evaluated(right_up_to(20))
    (change,) = compare(report, report, rows, rows)
    assert (change.delta.low, change.delta.value, change.delta.high) == (0, 0, 0)


async def test_different_examples_are_two_samples() -> None:
    (first, first_rows), (second, second_rows) = await evaluated(right_up_to(20), 0, 25), await evaluated(right_up_to(40), 20, 40)
    (change,) = compare(first, second, first_rows, second_rows)
    assert not change.paired
    assert (change.examples, change.fixed, change.broken) == (20, 5, 0)
    assert round(change.delta.value, 6) == 0.2
    assert change.delta.low <= 0.2 <= change.delta.high


async def test_without_rows_reports_can_still_be_compared() -> None:
    (first, _), (second, _) = await evaluated(right_up_to(20)), await evaluated(right_up_to(30))
    (change,) = compare(first, second)
    assert not change.paired
    assert round(change.delta.value, 6) == 0.25


async def test_only_roles_and_graders_of_both_are_compared() -> None:
    first, _ = await evaluated(right_up_to(20))
    other = Candidate("base", "b", Speaker(str))
    second, _ = await evaluate(PLAN, [other], EXAMPLES, [Exact()])
    third, _ = await evaluate(PLAN, [right_up_to(9)], EXAMPLES, [Answer()])
    assert compare(first, second) == []
    assert compare(first, third) == []

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from stillhouse.apply import Outcome
from stillhouse.errors import UpstreamError, UsageError
from stillhouse.evaluation import Memory, evaluate, failures, headline
from stillhouse.grade import Grade, GradingError, ModelResult, Report, TokenUsage
from stillhouse.graders.answer import Answer
from stillhouse.graders.exact import Exact
from stillhouse.prices import Price, Prices
from stillhouse.sample import Item, Sample
from tests.evaluation.models import PLAN, Speaker, candidate, example

EXAMPLES = [example(n, "yes" if n % 4 else "no", task="coin" if n < 12 else "dice") for n in range(20)]


def truth(question: str) -> str:
    return EXAMPLES[int(question.split()[-1])].answer


def always_yes(question: str) -> str:
    return "yes"


def of(report: Report, role: str) -> ModelResult:
    return next(each for each in report.results if each.role == role)


async def test_everybody_is_asked_everything_and_graded() -> None:
    candidates = [candidate("teacher", truth), candidate("student", always_yes)]
    report, rows = await evaluate(PLAN, candidates, EXAMPLES, [Exact(), Answer()])
    assert (report.examples, report.graders, report.dataset, report.split) == (20, ("exact", "answer"), "sha256:0", "test")
    assert of(report, "teacher").accuracy["exact"].value == 1
    assert of(report, "student").accuracy["exact"].value == 0.75
    assert of(report, "student").agreement == 0.75
    assert of(report, "teacher").agreement is None
    assert headline(report).role == "student"
    assert [(row.model, row.example) for row in rows] == [(each.name, example.id) for each in candidates for example in EXAMPLES]


async def test_a_bias_handed_down_shows_in_the_slices() -> None:
    """A teacher that never says no, and a student that learned it: fine on the whole, and 0 on one label."""
    plan = PLAN.model_copy(update={"slices": ("task",)})
    report, _ = await evaluate(plan, [candidate("teacher", always_yes), candidate("student", always_yes)], EXAMPLES, [Exact()])
    for role in ("teacher", "student"):
        slices = of(report, role).slices
        assert list(slices) == ["label=yes", "label=no", "task=coin", "task=dice"]
        assert slices["label=no"]["exact"].value == 0
        assert slices["label=yes"]["exact"].value == 1
    assert report.settings["slice_sizes"] == {"label=yes": 15, "label=no": 5, "task=coin": 12, "task=dice": 8}
    assert of(report, "student").agreement == 1


async def test_rare_labels_have_no_slice() -> None:
    report, _ = await evaluate(PLAN, [candidate("student", truth)], EXAMPLES[:10], [Exact()])
    assert list(of(report, "student").slices) == ["label=yes"]


async def test_the_difference_is_student_minus_each_other() -> None:
    candidates = [candidate("teacher", truth), candidate("student", always_yes), candidate("base", lambda question: "?")]
    report, _ = await evaluate(PLAN, candidates, EXAMPLES, [Exact()])
    deltas = {difference.baseline: difference.delta for difference in report.differences}
    assert {difference.model for difference in report.differences} == {"student-model"}
    assert deltas["teacher-model"].value == -0.25
    assert deltas["base-model"].value == 0.75
    assert deltas["teacher-model"].high <= 0 < deltas["base-model"].low


async def test_a_failure_counts_as_wrong_and_is_counted_apart() -> None:
    def moody(question: str) -> str:
        if question.endswith("3"):
            raise UpstreamError("refused by a filter", status=400)
        return truth(question)

    candidates = [candidate("teacher", truth), candidate("student", moody)]
    report, rows = await evaluate(PLAN, candidates, EXAMPLES, [Exact()])
    student = of(report, "student")
    assert (student.failed, student.accuracy["exact"].value, student.agreement) == (2, 0.9, 0.9)
    failed = [row for row in rows if row.answer is None]
    assert [row.example for row in failed] == ["e3", "e13"]
    assert all("refused by a filter" in (row.error or "") and row.grades == {} for row in failed)
    assert of(report, "teacher").failed == 0


async def test_where_the_teacher_failed_nobody_can_agree() -> None:
    def half(question: str) -> str:
        if int(question.split()[-1]) >= 10:
            raise UpstreamError("no", status=400)
        return "yes"

    report, _ = await evaluate(PLAN, [candidate("teacher", half), candidate("student", always_yes)], EXAMPLES, [Exact()])
    assert of(report, "student").agreement == 1


async def test_a_grader_that_cannot_work_raises_instead_of_grading_0() -> None:
    class Broken:
        name = "broken"

        async def grade(self, item: Item, sample: Sample) -> Grade:
            raise UsageError("the judge is not there")

    with pytest.raises(UsageError, match="the judge"):
        await evaluate(PLAN, [candidate("student", truth)], EXAMPLES, [Broken()])


class Refused:
    """Grades no answer to the questions it is given; the others by `exact`."""

    name = "judge"

    def __init__(self, *questions: str) -> None:
        self.questions = questions

    async def grade(self, item: Item, sample: Sample) -> Grade:
        if item["question"] in self.questions:
            raise GradingError("It refused.", "model_grader_refusal_error")
        return await Exact().grade(item, sample)


async def test_what_a_grader_could_not_grade_counts_for_nothing_and_is_counted_apart() -> None:
    student, teacher = candidate("student", lambda question: "no"), candidate("teacher", truth)
    refused = [example.messages[-1]["content"] for example in EXAMPLES[:2]]
    report, rows = await evaluate(PLAN, [student, teacher], EXAMPLES, [Refused(*refused)])
    assert [row.ungraded for row in rows[:2]] == [{"judge": "model_grader_refusal_error: It refused."}] * 2
    assert [result.ungraded for result in report.results] == [{"judge": 2}, {"judge": 2}]
    right = [example.answer == "no" for example in EXAMPLES[2:]]
    assert report.results[0].accuracy["judge"].value == pytest.approx(sum(right) / len(right))
    assert report.results[1].accuracy["judge"].value == 1
    assert report.differences[0].delta.value == pytest.approx(sum(right) / len(right) - 1)
    assert not any(row.ungraded for row in failures(rows, model="student-model", grader="judge"))


async def test_a_grader_that_could_grade_nothing_ends_the_evaluation() -> None:
    refused = [example.messages[-1]["content"] for example in EXAMPLES]
    with pytest.raises(GradingError, match="could grade none of the .* It refused"):
        await evaluate(PLAN, [candidate("student", truth)], EXAMPLES, [Refused(*refused)])


async def test_requests_are_as_deterministic_as_can_be_and_carry_the_tools() -> None:
    tools: list[dict[str, Any]] = [{"type": "function", "function": {"name": "f"}}]
    speaker = candidate("student", lambda question: "x")
    await evaluate(PLAN, [speaker], [EXAMPLES[0].model_copy(update={"tools": tools}), EXAMPLES[1]], [Exact()])
    assert isinstance(speaker.model, Speaker)
    first, second = (request.body for request in speaker.model.requests)
    assert first == {**second, "messages": EXAMPLES[0].messages, "tools": tools}
    assert (second["model"], second["temperature"], second["max_completion_tokens"]) == ("student-model", 0, 256)


async def test_models_that_refuse_a_temperature_get_none() -> None:
    speaker = candidate("student", truth)
    await evaluate(PLAN.model_copy(update={"temperature": None}), [speaker], EXAMPLES[:1], [Exact()])
    assert isinstance(speaker.model, Speaker)
    assert "temperature" not in speaker.model.requests[0].body


async def test_tokens_and_costs_are_those_reported_and_unknown_is_not_free() -> None:
    prices = Prices(models={"teacher-model": Price(input=1000, output=10000), "student-model": Price(input=1, output=1)})
    candidates = [
        candidate("teacher", truth, {"prompt_tokens": 10, "completion_tokens": 2}),
        candidate("student", truth),
        candidate("base", truth, {"prompt_tokens": 1, "completion_tokens": 1}),
    ]
    report, _ = await evaluate(PLAN, candidates, EXAMPLES, [Exact()], prices=prices)
    teacher, student, base = report.results
    assert (teacher.prompt_tokens, teacher.completion_tokens) == (200, 40)
    assert teacher.cost == pytest.approx(200 * 0.001 + 40 * 0.01)
    assert student.cost is None
    assert base.cost is None
    assert report.settings["currency"] == "USD"


async def test_what_was_kept_is_not_asked_again_and_the_score_is_the_same() -> None:
    kept: list[Outcome] = []
    first, _ = await evaluate(PLAN, [candidate("student", always_yes)], EXAMPLES, [Exact()], memory=Memory(keep=kept.append))
    again = candidate("student", always_yes)
    seen = {outcome.key: outcome for outcome in kept[:15]}
    second, _ = await evaluate(PLAN, [again], EXAMPLES, [Exact()], memory=Memory(seen=seen))
    assert isinstance(again.model, Speaker)
    assert len(again.model.requests) == 5
    assert first.results[0].accuracy == second.results[0].accuracy
    assert first.results[0].slices == second.results[0].slices


async def test_the_same_evaluation_twice_gives_the_same_numbers() -> None:
    candidates = [candidate("teacher", truth), candidate("student", always_yes)]
    reports = [(await evaluate(PLAN, candidates, EXAMPLES, [Exact()]))[0] for _ in range(2)]
    assert reports[0].differences == reports[1].differences
    assert reports[0].id != reports[1].id


async def test_progress_is_told_by_model() -> None:
    told: list[tuple[str, int, int]] = []
    await evaluate(
        PLAN,
        [candidate("student", truth)],
        EXAMPLES[:2],
        [Exact()],
        progress=lambda name, done, of: told.append((name, done, of)),
    )
    assert told == [("student-model", 0, 2), ("student-model", 1, 2), ("student-model", 2, 2)]


@pytest.mark.parametrize(
    ("candidates", "examples", "graders", "complaint"),
    [
        ([], EXAMPLES, [Exact()], "no model"),
        ([candidate("student", truth)], [], [Exact()], "no example"),
        ([candidate("student", truth)], EXAMPLES, [], "no grader"),
        ([candidate("student", truth)] * 2, EXAMPLES, [Exact()], "two roles"),
    ],
)
async def test_what_cannot_be_evaluated_says_why(candidates: Any, examples: Any, graders: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        await evaluate(PLAN, candidates, examples, graders)


async def test_a_local_model_is_loaded_before_the_clock_starts() -> None:
    student = dataclasses.replace(candidate("student", truth), local=True)
    kept: list[Outcome] = []
    await evaluate(PLAN, [student], EXAMPLES, [Exact()], memory=Memory(keep=kept.append))
    assert isinstance(student.model, Speaker)
    assert (len(student.model.requests), len(kept)) == (21, 20)


async def test_a_local_model_costs_the_time_it_took() -> None:
    prices = Prices(local_per_hour=3600.0)
    student = dataclasses.replace(candidate("student", truth), local=True, parameters=7, size_bytes=28)
    report, rows = await evaluate(PLAN, [student], EXAMPLES, [Exact()], prices=prices)
    (result,) = report.results
    assert result.cost == pytest.approx(sum(row.latency_ms or 0 for row in rows) / 1000)
    assert (result.parameters, result.size_bytes) == (7, 28)
    assert result.latency_p50_ms is not None and result.latency_p95_ms is not None
    assert 0 < result.latency_p50_ms <= result.latency_p95_ms


class Better:
    """Prefers `yes`, as a pairwise judge that sees the teacher's answer."""

    name = "pairwise"

    async def grade(self, item: Item, sample: Sample) -> Grade:
        answers = sample["output_text"], item["teacher"]
        score = 0.5 if answers[0] == answers[1] else float(answers[0] == "yes")
        return Grade(score=score, passed=score >= 0.5)


async def test_graders_see_the_teachers_answer_and_the_mean_score_is_the_win_rate() -> None:
    student, teacher = candidate("student", always_yes), candidate("teacher", truth)
    report, _ = await evaluate(PLAN, [student, teacher], EXAMPLES, [Better()])
    assert report.results[0].scores["pairwise"].value == (5 * 1 + 15 * 0.5) / 20
    assert report.results[1].scores["pairwise"].value == 0.5
    assert isinstance(teacher.model, Speaker)
    assert len(teacher.model.requests) == len(EXAMPLES), "asked once, though its answers are needed before anybody's grades"


class Undecided:
    """A judge that gives no verdict about one question, and is paid all the same."""

    name = "undecided"

    async def grade(self, item: Item, sample: Sample) -> Grade:
        if item["question"].endswith(" 3"):
            raise GradingError(
                "no verdict", "model_grader_parse_error", usage={"judge": TokenUsage(requests=3, prompt_tokens=30)}
            )
        return Grade(score=1.0, passed=True, usage={"judge": TokenUsage(requests=1, prompt_tokens=10)})


async def test_what_a_judge_took_counts_where_no_grade_came_of_it() -> None:
    report, rows = await evaluate(PLAN, [candidate("student", truth)], EXAMPLES, [Undecided()])
    assert [row.example for row in rows if row.ungraded] == ["e3"]
    assert of(report, "student").judging == {"judge": TokenUsage(requests=22, prompt_tokens=220)}

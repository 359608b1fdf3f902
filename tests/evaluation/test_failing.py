from __future__ import annotations

from stillhouse.evaluation import Focus, evaluate, failures, focus_on
from stillhouse.graders.exact import Exact
from tests.evaluation.models import PLAN, candidate, example, row

TEST = [
    example(0, "card", "my card was stolen", topic="card"),
    example(1, "card", "when will my card arrive", topic="card"),
    example(2, "rate", "what is the exchange rate", topic="rate"),
    example(3, "rate", "今天的汇率是多少", topic="rate"),
]


def test_failures_are_what_the_grader_did_not_pass_and_what_was_not_answered() -> None:
    rows = [
        row(1, right=True),
        row(2, right=False),
        row(3, right=True, answer=None),
        row(4, right=False, model="other"),
        row(5, right=True, grader="answer"),
    ]
    assert [each.example for each in failures(rows, model="m", grader="exact")] == ["e2", "e3", "e5"]


async def test_a_focus_says_what_failures_have_in_common() -> None:
    report, rows = await evaluate(PLAN, [candidate("student", lambda question: "card")], TEST, [Exact()])
    failed = failures(rows, model="student-model", grader="exact")
    focus = focus_on(report, failed, TEST, model="student-model", grader="exact")
    assert focus.examples == ("e2", "e3")
    assert focus.prompts == ("what is the exchange rate", "今天的汇率是多少")
    assert focus.labels == {"rate": 2}
    assert focus.metadata == {"topic": {"rate": 2}}
    assert Focus.model_validate_json(focus.json_bytes()) == focus

"""A grader of every kind that asks the same: is the answer the reference? The conformance suite runs over them.

A new kind gets a line here; `test_conformance.py` fails when it has none.
"""

from __future__ import annotations

from typing import Any

from stillhouse.answers import normalise
from stillhouse.chat import Message
from stillhouse.grade import Grader
from stillhouse.graders.building import build
from tests.graders.rows import FakeJudge, fenced, means

COMPARED = [{"role": "user", "content": "{{item.reference}}"}, {"role": "user", "content": "{{sample.output_text}}"}]
CONFIGS: dict[str, dict[str, Any]] = {
    "answer": {},
    "exact": {},
    "normalised": {},
    "string_check": {"input": "{{sample.output_text}}", "reference": "{{item.reference}}", "operation": "eq"},
    "text_similarity": {
        "input": "{{sample.output_text}}",
        "reference": "{{item.reference}}",
        "evaluation_metric": "fuzzy_match",
        "pass_threshold": 1,
    },
    "score_model": {"model": "judge", "input": COMPARED},
    "label_model": {"model": "judge", "input": COMPARED, "labels": ["same", "different"], "passing_labels": ["same"]},
    "typed_answer": {"answers": "text"},
    "multi": {
        "graders": {
            "same": {
                "type": "string_check",
                "name": "same",
                "input": "{{sample.output_text}}",
                "reference": "{{item.reference}}",
                "operation": "eq",
            }
        },
        "calculate_output": "min(same, 1)",
    },
}


def judge(messages: list[Message]) -> dict[str, Any]:
    """Compares the second last message with the fenced text of the last."""
    same = normalise(messages[-2]["content"]) == normalise(fenced(messages)[-1])
    if "label" in messages[-1]:
        raise AssertionError
    return {"reasoning": "the same" if same else "not the same", "score": int(same)}


class Comparing(FakeJudge):
    """A judge that is right, whatever it is asked for: a score or a label."""

    def __init__(self) -> None:
        super().__init__(lambda messages: judge(messages))

    async def complete(self, request: Any) -> Any:
        wanted = request.body["response_format"]["json_schema"]["schema"]["properties"]

        def says(messages: list[Message]) -> dict[str, Any]:
            verdict = judge(messages)
            score = verdict.pop("score")
            return {**verdict, "score": score} if "score" in wanted else {**verdict, "label": "same" if score else "different"}

        self.says = says
        return await super().complete(request)


def grader(kind: str) -> Grader:
    """The grader of that kind."""
    return build({"type": kind, "name": f"my {kind}" if CONFIGS[kind] else kind, **CONFIGS[kind]}, means(Comparing()))

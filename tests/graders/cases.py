"""A grader of every kind that asks the same: is the answer the reference? The conformance suite runs over them.

A new kind gets a line here; `test_conformance.py` fails when it has none.
"""

from __future__ import annotations

from typing import Any

from stillhouse.chat import ChatRequest, ChatResponse, Message
from stillhouse.grade import Grader
from stillhouse.graders.building import build
from tests.graders.rows import FakeJudge, fenced, means

REFERENCE, ANSWER = "{{item.reference}}", "{{sample.output_text}}"
COMPARED = [{"role": "user", "content": REFERENCE}, {"role": "user", "content": ANSWER}]
CONFIGS: dict[str, dict[str, Any]] = {
    "answer": {},
    "exact": {},
    "normalised": {},
    "string_check": {"input": ANSWER, "reference": REFERENCE, "operation": "eq"},
    "text_similarity": {
        "input": ANSWER,
        "reference": REFERENCE,
        "evaluation_metric": "fuzzy_match",
        "pass_threshold": 1,
    },
    "score_model": {"model": "judge", "input": COMPARED},
    "label_model": {"model": "judge", "input": COMPARED, "labels": ["same", "different"], "passing_labels": ["same"]},
    "typed_answer": {"answers": "text"},
    "rubric": {"model": "judge", "rubric": "accuracy", "question": "?", "answer": ANSWER, "pass_threshold": 1},
    "pairwise": {"model": "judge", "question": REFERENCE},
    "python": {
        "source": "def grade(sample, item):\n    return sample['output_text'].strip() == item['reference'].strip()\n",
        "pass_threshold": 1,
    },
    "multi": {
        "graders": {
            "same": {
                "type": "string_check",
                "name": "same",
                "input": ANSWER,
                "reference": REFERENCE,
                "operation": "eq",
            }
        },
        "calculate_output": "min(same, 1)",
    },
}


class Comparing(FakeJudge):
    """A judge that is right in whatever words it is asked: a score, a label, a mark, the better of two."""

    def __init__(self) -> None:
        super().__init__(str)

    async def complete(self, request: ChatRequest) -> ChatResponse:
        [wanted] = set(request.body["response_format"]["json_schema"]["schema"]["properties"]) - {"reasoning"}
        self.says = lambda messages: {"reasoning": "compared", wanted: self._verdict(wanted, messages)}
        return await super().complete(request)

    def _verdict(self, wanted: str, messages: list[Message]) -> Any:
        if wanted == "winner":
            reference, first, second = map(str.strip, fenced(messages))
            return "tie" if first == second else "first" if first == reference else "second"
        within = fenced(messages)
        reference = within[0] if len(within) == 2 else messages[-2]["content"]
        same = reference.strip() == within[-1].strip()
        return {"score": int(same), "mark": 5 if same else 1, "label": "same" if same else "different"}[wanted]


def grader(kind: str) -> Grader:
    """The grader of that kind."""
    return build({"type": kind, "name": f"my {kind}" if CONFIGS[kind] else kind, **CONFIGS[kind]}, means(Comparing()))

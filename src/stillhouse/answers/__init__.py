"""Answers: where the answer stands in a text, and when two are the same, one type of answer a file.

`final_answer` and `normalise` know no type: they are what every grader and report falls back on. `answer_type` gives the rules
of one: what counts as a candidate, which form two answers are compared in. No rule knows a task; tasks name their type.
"""

from __future__ import annotations

from stillhouse.answers.base import AnswerType
from stillhouse.answers.extraction import Place, extract, published_equal
from stillhouse.answers.final import final_answer, normalise
from stillhouse.registry import Table

ANSWERS = Table(
    "answer type",
    "answers",
    {
        "number": "stillhouse.answers.number:Number",
        "paper_number": "stillhouse.answers.number:PaperNumber",
        "choice": "stillhouse.answers.choice:Choice",
        "yes_no": "stillhouse.answers.yes_no:YesNo",
        "letters": "stillhouse.answers.letters:Letters",
        "text": "stillhouse.answers.text:Text",
        "date": "stillhouse.answers.date:Date",
        "latex": "stillhouse.answers.latex:Latex",
    },
)
"""Each kind is a class; what stands behind a colon in its name, as in `choice:A-F`, is the one argument it is built with."""


def answer_type(name: str) -> AnswerType:
    """The type `name`, or `name:OPTION`. Raises UsageError, which lists what there is."""
    kind, _, option = name.partition(":")
    made = ANSWERS.resolve(kind)
    built: AnswerType = made(option) if option else made()
    return built


__all__ = ["ANSWERS", "AnswerType", "Place", "answer_type", "extract", "final_answer", "normalise", "published_equal"]

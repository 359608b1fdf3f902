"""ChatModels x examples x graders -> a Report: who is right how often, how sure that is, how fast, at what cost.

`cases` are what is asked about, `answering` asks, `scoring` adds up (with `intervals`), `evaluating` is the verb, `keeping`
stores its report, `comparing` sets two reports beside each other (with `verdicts`), `failing` turns what went wrong into what to
learn next. An eval's runs do the same in `blocks`, `tallying` as they go, on rows that `schemas` allows.
"""

from __future__ import annotations

from stillhouse.evaluation.answering import Candidate, Memory, Plan, answer_all, warm
from stillhouse.evaluation.comparing import Change, compare
from stillhouse.evaluation.evaluating import evaluate, headline
from stillhouse.evaluation.failing import Focus, failures, focus_on
from stillhouse.evaluation.keeping import keep_report, rows_of

__all__ = [
    "Candidate",
    "Change",
    "Focus",
    "Memory",
    "Plan",
    "answer_all",
    "compare",
    "evaluate",
    "failures",
    "focus_on",
    "headline",
    "keep_report",
    "rows_of",
    "warm",
]

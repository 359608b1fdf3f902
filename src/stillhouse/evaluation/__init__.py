"""ChatModels x examples x graders -> a Report: who is right how often, how sure that is, how fast, at what cost.

`answering` asks, `scoring` adds up (with `intervals`), `evaluating` is the verb, `keeping` stores its report, `comparing` sets
two reports beside each other, `failing` turns what went wrong into what to learn next.
"""

from __future__ import annotations

from stillhouse.evaluation.answering import Candidate, Memory, Plan
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
    "compare",
    "evaluate",
    "failures",
    "focus_on",
    "headline",
    "keep_report",
    "rows_of",
]

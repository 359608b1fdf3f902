"""One way to reason to an answer: the paper's "completion sample" as it lies in a file, and what can be read from it.

The row is kept whole, fields that nobody here knows included, so that what was read can be written back. The answer it comes to
is never a field: it is extracted from the completion's text, each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stillhouse.answers import AnswerType, extract
from stillhouse.reasoning.templates import place_of


@dataclass(frozen=True)
class Rationale:
    """A completion sample, the template it was asked by, and the type of its task's answers."""

    row: Mapping[str, Any]
    answers: AnswerType
    template: str | None = None
    gold: str | None = None
    """The right answer where the dataset says it; else the row's own `answer`."""

    @property
    def sample(self) -> Any:
        """`sample_index`: which question."""
        return self.row.get("sample_index")

    @property
    def index(self) -> Any:
        """`completion_index`: which of the question's completions."""
        return self.row.get("completion_index", 0)

    @property
    def question(self) -> str:
        return _text(self.row, "question")

    @property
    def answer(self) -> str:
        """The gold answer as it is written; '' where nobody knows it."""
        return _text(self.row, "answer") if self.gold is None else self.gold

    @property
    def completion(self) -> str | None:
        """The text with the answer; None where the answer was not asked for yet."""
        found = self.row.get("completion")
        return found if isinstance(found, str) else None

    @property
    def reasoning(self) -> str:
        """The steps: the first step's completion, or what stands before the marker in a completion that holds both."""
        if isinstance(self.row.get("reasoning_completion"), str):
            return _text(self.row, "reasoning_completion")
        return place_of(self.template).before(self.completion or "")

    @property
    def thinking(self) -> str:
        """What a reasoning model thought before it said that; '' where it shows nothing."""
        return _text(self.row, "thinking")

    @cached_property
    def said(self) -> str | None:
        """The answer it comes to, extracted; None where there is no candidate."""
        return None if self.completion is None else extract(self.completion, self.answers, place_of(self.template))

    @property
    def cut_off(self) -> bool:
        """Whether a token limit ended the reasoning: by its finish reason, or where none was kept, by ending in mid-sentence."""
        reason = self.row.get("reasoning_finish_reason") or self.row.get("finish_reason")
        if isinstance(reason, str):
            return reason == "length"
        ending = self.reasoning.rstrip()[-1:]
        return ending.isalpha() or ending in set(",;-+*/=(\u2212")


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else "" if value is None else str(value)

"""What every type of answer can do: find candidates in a text, bring one into the form that two are compared in."""

from __future__ import annotations

from typing import Protocol


class AnswerType(Protocol):
    """The rules of one type. `candidates` and `canonical` never raise, whatever the text."""

    name: str
    """As in the table, its option included: `choice:A-F`."""

    def candidates(self, text: str) -> list[str]:
        """Everything in `text` that could be an answer of this type, in the order it stands there, as it is written."""

    def canonical(self, answer: str) -> str:
        """The form in which answers are counted as the same vote. Applied twice it changes nothing."""

    def equal(self, got: str, want: str) -> bool:
        """Whether a reader would call the two the same."""


class ByCanonicalForm:
    """Equality that is equality of canonical forms; an answer without one (an empty form) equals nothing."""

    def canonical(self, answer: str) -> str:
        raise NotImplementedError

    def equal(self, got: str, want: str) -> bool:
        """Whether both have the same canonical form."""
        form = self.canonical(got)
        return form != "" and form == self.canonical(want)

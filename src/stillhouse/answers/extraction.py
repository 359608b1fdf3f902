"""Which candidate is the answer: the first, the last, or the first behind a marker; and the comparison of the published figures.

Zero-shot (Kojima et al. 2022): the first candidate of the answer's own completion. Few-shot: the first behind the last "The
answer is", or, without one, the last. Fine-tuned students (Ho et al. 2023): the first behind the template's marker, or, without
one, the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stillhouse.answers.base import AnswerType
from stillhouse.answers.final import before_statement, stated_answer


@dataclass(frozen=True)
class Place:
    """Where in a completion the answer stands."""

    markers: tuple[str, ...] = ()
    """Spellings of the one marker; none: the first candidate of all counts. Without any in the text, the last one does."""
    occurrence: Literal["first", "last"] = "first"
    """Which marker, where there are several."""
    until: tuple[str, ...] = ()
    """What ends the answer: the next question of a model that goes on, a stop phrase that a student wrote out."""
    sentence: bool = False
    """Instead of markers, what `final_answer` finds: "The answer is ..." in any spelling, "Answer: ...", "答案是"."""

    def before(self, text: str) -> str:
        """What stands before the answer: the reasoning, in a completion that holds both."""
        if self.sentence:
            return before_statement(text)
        cuts = [at for marker in self.markers if (at := text.find(marker)) >= 0]
        return text[: min(cuts)] if cuts else text

    def marked(self, text: str) -> bool:
        """Whether the text says where its answer stands."""
        if self.sentence:
            return stated_answer(text) is not None
        return not self.markers or any(marker in text for marker in self.markers)


FIRST = Place()


def extract(text: str, kind: AnswerType, place: Place = FIRST) -> str | None:
    """The answer of a completion as it is written there; None when it holds no candidate. Surrounding white space is no part."""
    cut = min((at for end in place.until if (at := text.find(end)) > 0), default=len(text))
    text = text[:cut].strip()
    if place.sentence:
        return _in_sentence(text, kind)
    behind = _behind_marker(text, place)
    found = kind.candidates(text if behind is None else behind)
    if not _real(found):
        return None
    return found[-1] if behind is None and place.markers else found[0]


def published_equal(got: str | None, want: str) -> bool:
    """As Kojima et al. compare: the candidate, without a full stop behind it, is the gold answer, character by character."""
    return got is not None and got.removesuffix(".") == want.strip()


def _in_sentence(text: str, kind: AnswerType) -> str | None:
    """The first candidate of the sentence that states the answer; without one, the last of the text."""
    stated = stated_answer(text)
    if stated is not None and (found := _real(kind.candidates(stated))):
        return found[0]
    everywhere = _real(kind.candidates(text))
    return everywhere[-1] if everywhere else None


def _real(candidates: list[str]) -> list[str]:
    return [candidate for candidate in candidates if candidate]


def _behind_marker(text: str, place: Place) -> str | None:
    seek = str.find if place.occurrence == "first" else str.rfind
    found = [(at, marker) for marker in place.markers if (at := seek(text, marker)) >= 0]
    if not found:
        return None
    at, marker = min(found) if place.occurrence == "first" else max(found)
    return text[at + len(marker) :]

"""The parts of an answer that reasons: the rationale, and what states the final answer; by the template it was written in.

One rule for everybody who weighs them apart or leaves one out.
"""

from __future__ import annotations

from typing import NamedTuple

from stillhouse.answers import Place, final_answer
from stillhouse.dataset import Example
from stillhouse.reasoning.templates import place_of

TEMPLATE = "template"
"""Metadata that names the template an example was written in; without it, "The answer is ..." in any spelling."""
_CHAT = "chat"


class Parts(NamedTuple):
    """`rationale` + `statement` is the answer, character by character."""

    rationale: str
    """'' where the text does not say where its answer stands, or says nothing before it."""
    statement: str
    """From the marker, or the sentence that states the answer, to the end."""
    final: str
    """The final answer alone, as a student that gives nothing else learns it."""


def parts_of(example: Example) -> Parts:
    """Never raises: an answer without a marker is all statement."""
    return parts_of_answer(example.answer, example.metadata.get(TEMPLATE, _CHAT))


def parts_of_answer(answer: str, template: str = _CHAT) -> Parts:
    """The same of a text. A template whose answers have no marker (`ft_natural`, `ft_token`, `zs`) has no rationale either."""
    place = place_of(template)
    if not place.markers and not place.sentence:
        return Parts("", answer, answer)
    rationale = place.before(answer) if place.marked(answer) else ""
    statement = answer[len(rationale) :]
    return Parts(rationale, statement, final_answer(answer) if place.sentence else _behind(answer, statement, place))


def _behind(answer: str, statement: str, place: Place) -> str:
    """What stands behind the marker, with the white space that the template begins an answer with."""
    marker = next((each for each in place.markers if statement.startswith(each)), "")
    return answer[: len(answer) - len(answer.lstrip())] + statement[len(marker) :].strip()

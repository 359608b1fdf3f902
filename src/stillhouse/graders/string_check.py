"""Grader `string_check`: one text equals, does not equal or contains another. Every character counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from stillhouse.grade import Grade
from stillhouse.graders.base import GraderConfig, Means, TemplateText, filled, shown
from stillhouse.sample import Item, Sample


class StringCheckConfig(GraderConfig):
    type: Literal["string_check"]
    input: TemplateText
    reference: TemplateText
    operation: Literal["eq", "ne", "like", "ilike"]


OPERATIONS: dict[str, tuple[Callable[[str, str], bool], str]] = {
    "eq": (lambda text, reference: text == reference, "equal to"),
    "ne": (lambda text, reference: text != reference, "anything but"),
    "like": (lambda text, reference: reference in text, "something with"),
    "ilike": (lambda text, reference: reference.casefold() in text.casefold(), "something with (in any case)"),
}
"""Name -> whether the input passes, and how a reason puts it."""


class StringCheck:
    """1 where the input passes, else 0."""

    Config = StringCheckConfig

    def __init__(self, config: StringCheckConfig, means: Means) -> None:
        self.name = config.name
        self._config = config
        self._passes, self._wanted = OPERATIONS[config.operation]

    async def grade(self, item: Item, sample: Sample) -> Grade:
        text, reference = (str(filled(side, item, sample)) for side in (self._config.input, self._config.reference))
        if self._passes(text, reference):
            return Grade(score=1.0, passed=True)
        return Grade(score=0.0, passed=False, reason=f"expected {self._wanted} {shown(reference)}, got {shown(text)}")

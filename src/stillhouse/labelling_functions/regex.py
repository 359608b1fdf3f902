"""Labelling function `regex`: a label for texts in which a pattern is found.

Patterns are those of the package `regex`, which stops where a pattern takes too long: one that backtracks without end costs its
time on a text, and no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

import regex
from pydantic import Field, field_validator

from stillhouse.labelling_functions.base import FunctionConfig, Means, Said

HANGS = 3
"""Texts on which a pattern may run out of time; on the rest it is not tried any more."""


class RegexConfig(FunctionConfig):
    type: Literal["regex"]
    label: str
    pattern: str
    case: bool = False
    """Whether upper and lower case differ."""
    seconds: float = Field(default=1.0, gt=0, le=60)
    """For one text."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            regex.compile(pattern)
        except (regex.error, OverflowError, RecursionError) as exc:
            raise ValueError(f"the pattern is none: {exc}") from exc
        return pattern


class Regex:
    """Its label where the pattern is found anywhere."""

    Config = RegexConfig

    def __init__(self, config: RegexConfig, means: Means) -> None:
        self.name, self.weight, self._label, self._seconds = config.name, config.weight, config.label, config.seconds
        self._pattern = regex.compile(config.pattern, 0 if config.case else regex.IGNORECASE)

    async def say(self, texts: Sequence[str]) -> list[Said]:
        return await asyncio.to_thread(self._say, texts)

    def _say(self, texts: Sequence[str]) -> list[Said]:
        found: list[Said] = []
        hung = 0
        for text in texts:
            if hung == HANGS:
                found.append(Said(None, f"not tried any more: on {HANGS} texts it took longer than {self._seconds:g} seconds"))
                continue
            try:
                there = self._pattern.search(text, timeout=self._seconds, concurrent=True) is not None
                found.append(Said(self._label if there else None))
            except TimeoutError:
                hung += 1
                found.append(Said(None, f"it took longer than {self._seconds:g} seconds"))
        return found

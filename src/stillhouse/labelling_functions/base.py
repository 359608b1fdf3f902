"""What every labelling function can do, and what it is handed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from pydantic import Field

from stillhouse.records import Record
from stillhouse.sandbox import Sandbox


class FunctionConfig(Record):
    """One `[[function]]` of a file. Each kind adds its own fields."""

    type: str
    """Its kind: a name in the table."""
    name: str = Field(min_length=1)
    """What reports call it."""
    weight: float = Field(default=1.0, gt=0)
    """Of its vote, where votes are weighted; a teacher's is 1."""


class Said(NamedTuple):
    """What a function says about one text."""

    label: str | None
    problem: str = ""
    """Why it could not say anything; '' where it chose not to."""


@dataclass(frozen=True)
class Means:
    """What a function may use."""

    labels: tuple[str, ...]
    """Those that there are."""
    folder: Path
    """Where the file lies that names it: its paths are relative to that."""
    sandbox: Sandbox | None
    """Where code runs that others wrote; None refuses functions of kind `python`."""


class LabellingFunction(Protocol):
    """A kind. Its verdict on a text depends on that text alone."""

    Config: ClassVar[type[FunctionConfig]]
    name: str
    weight: float

    async def say(self, texts: Sequence[str]) -> list[Said]:
        """One verdict a text, in order. A text that cannot be judged has a problem; it is never an error."""

"""What a comparison of two texts gives, and who turns texts into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from stillhouse.records import Record


class Likeness(Record):
    """How alike two texts are."""

    score: float
    """0 (nothing in common) to 1 (as alike as the metric can tell)."""
    rule: str
    """How it was measured, exactly enough to measure it again."""


class Embedder(Protocol):
    """Turns texts into vectors of one length. `name` says which one it is: vectors of two embedders do not compare."""

    name: str

    async def embed(self, texts: Sequence[str]) -> list[list[float]]: ...

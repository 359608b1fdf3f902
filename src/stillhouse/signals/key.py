"""What a cache is of: everything that decides its content, and so the name of its folder.

Two runs that would hear the same from the same teacher have the same key and read the same cache. Sizes are not part of it: they
follow from the teacher, and are written down when it first speaks (`Shape`), so that a complete cache is opened without it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stillhouse.records import Record, fingerprint

Tier = Literal["hidden", "top_k", "sampled", "logits"]
"""What is kept of a row. hidden: its last state, and the head once. top_k: the k likeliest ids, their log-probabilities and that
of the rest. sampled: ids drawn from the distribution and how often. logits: all scores."""

FORMAT = 1
"""Counted up when the files change, so that old ones are made again rather than misread. Where every later version reads what an
earlier one wrote, as with sampled ids since they are ranks, it stays: going back to an older version then means building anew."""


class Key(Record):
    """The identity of a cache."""

    tokenizer: str
    """Hash of what turns text into ids."""
    teacher: str
    """Hash of the teacher's weights; `api:` and the dataset's fingerprint for what came with answers."""
    tier: Tier
    parameters: dict[str, float] = {}
    """The tier's own: `k` and `temperature`, or `samples` and `seed`; `vocabulary`: of rows that are of tokens, how many."""
    states: tuple[str, ...] = ()
    """Names of the inner states that are kept beside, of whole examples."""
    format: int = FORMAT

    @property
    def name(self) -> str:
        """Of its folder: 32 hex digits."""
        return fingerprint(self.json_bytes()).removeprefix("sha256:")[:32]


class Shape(Record):
    """What the teacher turned out to be: known once it has spoken."""

    vocabulary: int = Field(ge=1)
    """V: scores a row has."""
    scale: float = 1.0
    """Tier hidden: what the head's scores are multiplied by."""
    soft_cap: float | None = None
    """Tier hidden: scores are cap * tanh(score / cap)."""


class Entry(Record):
    """One example in a cache."""

    example: str
    """Its id: what it is found by."""
    content: str
    """Hash of what the teacher read. Found under the same id with another content, it is refused."""
    rows: int = Field(ge=0)
    """Supervised rows."""

"""What the child process asks of any student: take requests, advance all of them by a step, forget one.

The decoder's engine is `batching.py`; here is the one for students that give a label at once. No process, no wire here.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

from stillhouse.generation import Generation, Piece
from stillhouse.registry import Table
from stillhouse.students.base import last_user_text

ENGINES = Table(
    "way to serve a student",
    "engines",
    {"causal": "stillhouse.students.batching:BatchingEngine", "linear": "stillhouse.students.engines:LabelEngine"},
)
"""Student kind -> engine; built as `engine(student, batch=16)`."""


class Engine(Protocol):
    """Not safe for threads: one caller submits, steps and aborts."""

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""

    def submit(self, ticket: int, generation: Generation) -> None:
        """Take a request; its pieces carry `ticket`. Raises UsageError for one this student cannot answer."""

    def abort(self, ticket: int) -> None:
        """Forget a request and free what it held; unknown or ended ones are ignored."""

    def step(self) -> list[Piece]:
        """Advance every request; at least one token for those under way."""


class LabelEngine:
    """Serves a classifier: the answer is a label, whole, in one step. `logprobs` are the labels' probabilities."""

    def __init__(self, student: Any, *, batch: int = 16) -> None:
        self._student = student
        self._batch = batch
        self._waiting: dict[int, Generation] = {}

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def submit(self, ticket: int, generation: Generation) -> None:
        last_user_text(generation.messages)
        self._waiting[ticket] = generation

    def abort(self, ticket: int) -> None:
        self._waiting.pop(ticket, None)

    def step(self) -> list[Piece]:
        tickets = list(self._waiting)[: self._batch]
        asked = [self._waiting.pop(ticket) for ticket in tickets]
        if not asked:
            return []
        rows = self._student.probabilities([generation.messages for generation in asked])
        return [
            piece
            for ticket, generation, probability in zip(tickets, asked, rows, strict=True)
            for piece in _pieces(ticket, generation, probability)
        ]


def _pieces(ticket: int, generation: Generation, probability: dict[str, float]) -> list[Piece]:
    """The likeliest label, n times: a classifier is not sampled. Words are counted as tokens, the label as one."""
    label = max(probability, key=probability.__getitem__)
    words = sum(len(message["content"].split()) for message in generation.messages)
    logprobs = [_logprob(label, probability, generation.top_logprobs)] if generation.logprobs else None
    return [Piece(ticket, index, label, words, 1, "stop", logprobs) for index in range(generation.n)]


def _logprob(label: str, probability: dict[str, float], top: int) -> dict[str, Any]:
    """One entry of OpenAI's `logprobs.content`: the label as a token, the likeliest labels beside it."""
    ranked = sorted(probability, key=lambda name: -probability[name])[:top]
    return {**_entry(label, probability[label]), "top_logprobs": [_entry(name, probability[name]) for name in ranked]}


def _entry(label: str, probability: float) -> dict[str, Any]:
    return {"token": label, "logprob": math.log(max(probability, 1e-30)), "bytes": list(label.encode())}

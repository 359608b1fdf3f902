"""What the child process asks of any student: take requests, advance all of them by a step, forget one.

The decoder's engine is `batching.py`; here are those for students that answer at once: with a label, a number, a label a word.
No process, no wire here.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

from stillhouse.generation import Generation, Piece
from stillhouse.registry import Table
from stillhouse.students.base import last_user_text

ENGINES = Table(
    "way to serve a student",
    "engines",
    {
        "causal": "stillhouse.students.batching:BatchingEngine",
        "encoder": "stillhouse.students.engines:ReadingEngine",
        "linear": "stillhouse.students.engines:LabelEngine",
        "seq2seq": "stillhouse.students.seq2seq_engine:Seq2SeqEngine",
        "static": "stillhouse.students.engines:ReadingEngine",
    },
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


class Verdict(NamedTuple):
    """A whole answer, and what each of its labels was chosen from: label -> probability. A number has none."""

    text: str
    labels: tuple[str, ...]
    probabilities: tuple[dict[str, float], ...]


class LabelEngine:
    """Serves a classifier: the answer is a label, whole, in one step. `logprobs` are the labels' probabilities."""

    def __init__(self, student: Any, *, batch: int = 16) -> None:
        self._student = student
        self._batch = batch
        self._waiting: dict[int, tuple[Generation, Any]] = {}
        """With what was read of the request when it came."""

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def submit(self, ticket: int, generation: Generation) -> None:
        self._waiting[ticket] = generation, self._read(generation)

    def abort(self, ticket: int) -> None:
        self._waiting.pop(ticket, None)

    def step(self) -> list[Piece]:
        tickets = list(self._waiting)[: self._batch]
        asked = [self._waiting.pop(ticket) for ticket in tickets]
        if not asked:
            return []
        verdicts = self._judge([read for _, read in asked])
        return [
            piece
            for ticket, (generation, _), verdict in zip(tickets, asked, verdicts, strict=True)
            for piece in _pieces(ticket, generation, verdict)
        ]

    def _read(self, generation: Generation) -> Any:
        """What `_judge` takes. Raises UsageError for a chat that the student cannot answer, before it waits with others."""
        last_user_text(generation.messages)
        return generation.messages

    def _judge(self, read: list[Any]) -> list[Verdict]:
        rows = self._student.probabilities(read)
        likeliest = [max(row, key=row.__getitem__) for row in rows]
        return [Verdict(label, (label,), (row,)) for label, row in zip(likeliest, rows, strict=True)]


class ReadingEngine(LabelEngine):
    """Serves a student that reads texts (`reading.py`): it answers a label, a number, or one label a word.

    `logprobs` are the labels' probabilities: one entry a label, none for a number.
    """

    def _read(self, generation: Generation) -> Any:
        [row] = self._student.questions([generation.messages])
        return row

    def _judge(self, read: list[Any]) -> list[Verdict]:
        verdicts: list[Verdict] = self._student.verdicts(read)
        return verdicts


def _pieces(ticket: int, generation: Generation, verdict: Verdict) -> list[Piece]:
    """The answer, n times: a classifier is not sampled. Words are counted as tokens, a label as one, and so is a number."""
    words = sum(len(message["content"].split()) for message in generation.messages)
    logprobs = None
    if generation.logprobs:
        chosen = zip(verdict.labels, verdict.probabilities, strict=True)
        logprobs = [_logprob(label, probability, generation.top_logprobs) for label, probability in chosen]
    count = max(1, len(verdict.labels))
    return [Piece(ticket, index, verdict.text, words, count, "stop", logprobs) for index in range(generation.n)]


def _logprob(label: str, probability: dict[str, float], top: int) -> dict[str, Any]:
    """One entry of OpenAI's `logprobs.content`: the label as a token, the likeliest labels beside it."""
    ranked = sorted(probability, key=lambda name: -probability[name])[:top]
    return {**_entry(label, probability[label]), "top_logprobs": [_entry(name, probability[name]) for name in ranked]}


def _entry(label: str, probability: float) -> dict[str, Any]:
    return {"token": label, "logprob": math.log(max(probability, 1e-30)), "bytes": list(label.encode())}

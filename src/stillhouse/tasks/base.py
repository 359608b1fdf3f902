"""What every task shares: the `Question` record, and who may call a task.

No task here: each is a file of its own, and only this one may be imported by them all.
"""

from __future__ import annotations

from typing import Protocol

from stillhouse.records import Record
from stillhouse.tasks.words import Pool


class Question(Record):
    """One question with its gold answer and several ways to reason towards it."""

    task: str
    text: str
    answer: str
    """The gold answer, as it stands after "The answer is"."""
    rationales: tuple[str, ...]
    """One in each style; every one ends in "The answer is ANSWER."."""
    names: tuple[str, ...]
    """The invented names in it; none of the thousand questions around it has any of them."""


class Task(Protocol):
    """Generates questions: the same arguments give the same questions, in any process and on any machine."""

    def __call__(self, count: int, seed: int = 0, pool: Pool = "teach") -> list[Question]: ...


def conclude(steps: str, answer: str) -> str:
    """A rationale: the steps and the sentence that `stillhouse.answers` finds the answer in."""
    return f"{steps} The answer is {answer}."

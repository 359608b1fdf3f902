"""Dead letters of a labelling: questions that have no usable answer, with the reason, and how they are asked again."""

from __future__ import annotations

from collections.abc import Iterator

from stillhouse.apply import Ledger, Outcome
from stillhouse.dataset import Example
from stillhouse.jobs.labels import Wish, ledger_path
from stillhouse.jobs.questions import find_questions
from stillhouse.labelling import asks_of, problem_of
from stillhouse.records import Record
from stillhouse.transcript import message_text
from stillhouse.workspace import Workspace


class Dead(Record):
    """A question without a usable answer."""

    source: str
    """Where it stands: `file:NAME:LINE`, `completion:ID`, or its example's id."""
    sample: int
    question: str
    reason: str
    detail: str = ""
    """What the teacher said."""
    attempts: int


def dead_letters(workspace: Workspace, wish: Wish) -> Iterator[Dead]:
    """Every question that was given up or got an answer that is no label; none once there is nothing left to do.

    Raises NotFoundError, UsageError, ConflictError while the labelling is at work.
    """
    questions = find_questions(workspace, wish.source)
    plan = wish.plan(workspace.target(wish.model).name)
    path = ledger_path(workspace.settings, wish, questions)
    if not path.exists():
        return
    with Ledger(path) as ledger:
        for example in questions:
            for sample, ask in enumerate(plan.asks(example)):
                outcome = ledger.outcome(ask.key)
                problem = problem_of(outcome)
                if problem is not None and outcome is not None:
                    yield _dead(example, sample, problem, outcome)


def ask_again(workspace: Workspace, wish: Wish, *, unusable: bool = False) -> int:
    """Let what was given up be asked again, and with `unusable` also what got an answer that is no label; how many those are."""
    questions = find_questions(workspace, wish.source)
    plan = wish.plan(workspace.target(wish.model).name)
    path = ledger_path(workspace.settings, wish, questions)
    if not path.exists():
        return 0
    with Ledger(path) as ledger:
        again = [ask.key for ask in asks_of(questions, plan) if _is_dead(ledger.outcome(ask.key), unusable)]
        ledger.ask_again(again)
    return len(again)


def _is_dead(outcome: Outcome | None, unusable: bool) -> bool:
    return outcome is not None and (outcome.error is not None or (unusable and problem_of(outcome) is not None))


def _dead(example: Example, sample: int, reason: str, outcome: Outcome) -> Dead:
    return Dead(
        source=example.source or example.id,
        sample=sample,
        question=message_text(example.messages[-1]),
        reason=reason,
        detail=outcome.error or "",
        attempts=outcome.attempts,
    )

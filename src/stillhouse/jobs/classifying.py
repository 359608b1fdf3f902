"""Labels by name: texts of a file or a dataset, teachers and functions that vote, and the dataset that their votes make.

How votes are made and put together stands in `stillhouse.voting`, what a labelling function is in `labelling_functions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from stillhouse.dataset import Dataset, Example
from stillhouse.errors import UsageError
from stillhouse.files import write_atomic
from stillhouse.jobs.classification import Heard, Wish
from stillhouse.jobs.questions import Questions, find_questions
from stillhouse.jobs.voted_versions import save_version
from stillhouse.jobs.voting_teachers import Progress, ask_teacher
from stillhouse.labelling import UNASKED
from stillhouse.labelling_functions.base import LabellingFunction
from stillhouse.labelling_functions.reading import read_functions
from stillhouse.records import Record
from stillhouse.sandbox import Sandbox
from stillhouse.transcript import message_text
from stillhouse.voting import Combined, Vote, Votes, combine
from stillhouse.voting.reporting import VotingReport, report_of
from stillhouse.workspace import Workspace

NOBODY = "every voter abstained"


class Left(Record):
    """A text without a label: a dead letter."""

    source: str
    text: str
    reason: str
    confidence: float
    votes: dict[str, str | None]


@dataclass
class Classified:
    """What came of it."""

    dataset: Dataset
    report: VotingReport
    unasked: int = 0
    """Texts that a teacher was not asked about: its budget was spent."""
    left: list[Left] = field(default_factory=list)


async def classify(
    workspace: Workspace, wish: Wish, progress: Progress = lambda *_: None, stop: Callable[[], bool] = lambda: False
) -> Classified | None:
    """Have every text voted on, and make a dataset of those that get a label. A dataset's splits stay, a file's are drawn.

    None when `stop` said so before all was asked; what came is kept. Raises UsageError (no text, no voter, no label came, a
    confidence that nobody can tell), NotFoundError, ConflictError when another process asks the same, PermissionRefusedError for
    a refused key, UpstreamError when nothing is answered any more.
    """
    questions = find_questions(workspace, wish.source, wish.column)
    functions = functions_of(workspace, wish)
    check(wish, functions)
    examples = list(questions)
    if not examples:
        raise UsageError(f"{wish.source} holds no text.")
    columns = [await ask_teacher(workspace, wish, name, questions, examples, progress, stop) for name in wish.teachers]
    if stop():
        return None
    texts = [message_text(example.messages[-1]) for example in examples]
    for function in functions:
        progress(function.name, 0, len(texts))
        said = await function.say(texts)
        verdicts = [Vote({} if label is None else {label: 1.0}, problem) for label, problem in said]
        columns.append(Heard(function.name, verdicts, function.weight))
        progress(function.name, len(texts), len(texts))
    votes = Votes(wish.classification.labels.names, tuple(c.name for c in columns), tuple(c.votes for c in columns))
    weights = {column.name: wish.weights.get(column.name, column.weight) for column in columns}
    combined = combine(votes, wish.how, {name: weight for name, weight in weights.items() if weight != 1.0})
    return _published(workspace, wish, questions, examples, columns, votes, combined)


def check(wish: Wish, functions: Sequence[LabellingFunction]) -> None:
    """What can be found wrong before anybody is asked. Raises UsageError."""
    names = [*wish.teachers, *(function.name for function in functions)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if not names:
        raise UsageError("Nobody votes: name a teacher (--teacher MODEL) or labelling functions (--functions FILE.toml).")
    if twice:
        raise UsageError(f"Two voters are called '{twice[0]}'.")
    unknown = sorted(set(wish.weights) - set(wish.teachers))
    if unknown:
        raise UsageError(f"--weight {unknown[0]}: there is no such teacher. A function's weight stands in its file.")
    if wish.abstain_below and len(names) == 1 and not wish.logprobs and wish.samples == 1:
        raise UsageError(
            f"Nothing tells how sure '{names[0]}' is, so nothing is below {wish.abstain_below:g}. Ask a teacher for "
            "--logprobs 20 or several --samples, or add another voter."
        )


def functions_of(workspace: Workspace, wish: Wish) -> list[LabellingFunction]:
    """Those of the file that the wish names. Raises FormatError, UsageError."""
    if wish.functions is None:
        return []
    sandbox = Sandbox() if workspace.settings.python_graders else None
    return read_functions(wish.functions, wish.classification.labels.names, sandbox)


def _reference(example: Example) -> str | None:
    """The right label, where the source brought it along."""
    return example.reference or example.answer or None


def _published(
    workspace: Workspace,
    wish: Wish,
    questions: Questions,
    examples: Sequence[Example],
    columns: Sequence[Heard],
    votes: Votes,
    combined: Combined,
) -> Classified:
    chosen, reasons = _chosen(wish, votes, combined)
    counted = Counter(reason for reason in reasons if reason)
    report = report_of(
        votes,
        combined,
        chosen,
        counted,
        references=[_reference(example) for example in examples],
        rules={column.name: column.rules for column in columns},
    )
    left = [
        Left(
            source=example.source or example.id,
            text=message_text(example.messages[-1]),
            reason=reason,
            confidence=float(combined.confidence_N[row]),
            votes={column.name: column.votes[row].label for column in columns},
        )
        for row, (example, reason) in enumerate(zip(examples, reasons, strict=True))
        if reason
    ]
    dataset = save_version(workspace, wish, questions, examples, columns, combined, chosen, report)
    unasked = max(sum(vote.why == UNASKED for vote in column.votes) for column in columns)
    return Classified(dataset, report, unasked, left)


def _chosen(wish: Wish, votes: Votes, combined: Combined) -> tuple[list[str | None], list[str]]:
    """The label of each text, or None and why there is none."""
    best, sure = combined.best_N.tolist(), combined.confidence_N.tolist()
    chosen: list[str | None] = []
    reasons: list[str] = []
    for row, (number, confidence) in enumerate(zip(best, sure, strict=True)):
        reason = "" if confidence >= wish.abstain_below else f"its label is less probable than {wish.abstain_below:g}"
        if not confidence:
            why = {column[row].why for column in votes.by_voter} - {""}
            reason = why.pop() if len(why) == 1 else NOBODY
        chosen.append(None if reason else votes.labels[number])
        reasons.append(reason)
    return chosen, reasons


def write_left(left: Sequence[Left], path: Path) -> None:
    """The texts without a label, as JSON lines."""
    write_atomic(path, b"".join(orjson.dumps(each.model_dump(mode="json")) + b"\n" for each in left))

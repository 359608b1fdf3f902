"""Two reports beside each other: what changed for each role, paired by example where both know the example."""

from __future__ import annotations

from collections.abc import Sequence

from stillhouse.evaluation.intervals import mean_difference, paired_difference, unpaired_difference
from stillhouse.evaluation.scoring import graded, passed
from stillhouse.evaluation.verdicts import Verdict, non_inferiority
from stillhouse.grade import Answered, Interval, ModelResult, Report
from stillhouse.records import Record


class Change(Record):
    """What one role's accuracy was in the first report and is in the second."""

    role: str
    grader: str
    before: str
    """The first report's model."""
    after: str
    accuracy_before: Interval
    accuracy_after: Interval
    delta: Interval
    """Second minus first; over the shared examples when paired."""
    paired: bool
    """Whether both models answered the same examples; otherwise the interval is that of two samples, and wider."""
    examples: int
    """Shared ones when paired, the second report's when not."""
    fixed: int = 0
    """Wrong in the first report and right in the second, of the shared examples."""
    broken: int = 0
    """The other way round."""
    scores: Interval | None = None
    """Second mean score minus first, over the shared examples that both have one for."""
    verdict: Verdict | None = None
    """Whether the second is no worse, where a margin was given and the examples are the same."""


def compare(
    first: Report,
    second: Report,
    first_rows: Sequence[Answered] = (),
    second_rows: Sequence[Answered] = (),
    *,
    margin: float | None = None,
    seed: int = 0,
) -> list[Change]:
    """A change for every role and grader that both reports have.

    With `margin` (a share, e.g. 0.02) each paired change has a verdict: is the second no worse than the first by more than that?
    Paired (bootstrap) when the rows are given and share most of the examples of either; two samples (Newcombe) otherwise.
    """
    changes = []
    for before in first.results:
        after = next((each for each in second.results if each.role == before.role), None)
        for grader in before.accuracy if after is not None else ():
            if after is not None and grader in after.accuracy:
                change = _change(before, after, grader, second.examples)
                rows = _rows_of(first_rows, before.model), _rows_of(second_rows, after.model)
                changes.append(_paired(change, rows, margin, seed))
    return changes


def _change(before: ModelResult, after: ModelResult, grader: str, examples: int) -> Change:
    """As of two samples."""
    accuracy = before.accuracy[grader], after.accuracy[grader]
    return Change(
        role=before.role,
        grader=grader,
        before=before.model,
        after=after.model,
        accuracy_before=accuracy[0],
        accuracy_after=accuracy[1],
        delta=unpaired_difference(accuracy[1], accuracy[0]),
        paired=False,
        examples=examples,
    )


def _paired(change: Change, rows: tuple[dict[str, Answered], dict[str, Answered]], margin: float | None, seed: int) -> Change:
    """The same change, over the examples that both models were graded on, where those are most of either's."""
    pairs = [(rows[0][example], rows[1][example]) for example in rows[0] if example in rows[1]]
    pairs = [pair for pair in pairs if len(graded(pair, change.grader)) == 2]
    then = [passed(pair[0], change.grader) for pair in pairs]
    now = [passed(pair[1], change.grader) for pair in pairs]
    fixed = sum(b and not a for a, b in zip(then, now, strict=True))
    broken = sum(a and not b for a, b in zip(then, now, strict=True))
    counted = change.model_copy(update={"fixed": fixed, "broken": broken})
    if not pairs or 2 * len(pairs) <= max(len(rows[0]), len(rows[1])):
        return counted
    return counted.model_copy(
        update={
            "delta": paired_difference(now, then, seed=seed),
            "paired": True,
            "examples": len(pairs),
            "scores": _scores(pairs, change.grader, seed),
            "verdict": None if margin is None else non_inferiority(fixed, broken, len(pairs), margin),
        }
    )


def _scores(pairs: Sequence[tuple[Answered, Answered]], grader: str, seed: int) -> Interval | None:
    """None where scores say no more than passing does: all of them are 0 or 1."""
    scores = [[row.grades[grader].score for row in pair] for pair in pairs if all(grader in row.grades for row in pair)]
    if not scores or all(score in (0.0, 1.0) for pair in scores for score in pair):
        return None
    return mean_difference([pair[1] for pair in scores], [pair[0] for pair in scores], seed=seed)


def _rows_of(rows: Sequence[Answered], model: str) -> dict[str, Answered]:
    return {row.example: row for row in rows if row.model == model}

"""Two reports beside each other: what changed for each role, paired by example where both know the example."""

from __future__ import annotations

from collections.abc import Sequence

from stillhouse.evaluation.intervals import paired_difference, unpaired_difference
from stillhouse.evaluation.scoring import graded, passed
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


def compare(
    first: Report, second: Report, first_rows: Sequence[Answered] = (), second_rows: Sequence[Answered] = (), *, seed: int = 0
) -> list[Change]:
    """A change for every role and grader that both reports have.

    Paired (bootstrap) when the rows are given and share most of the examples of either; two samples (Newcombe) otherwise.
    """
    changes = []
    for before in first.results:
        after = next((each for each in second.results if each.role == before.role), None)
        for grader in before.accuracy if after is not None else ():
            if after is not None and grader in after.accuracy:
                rows = _rows_of(first_rows, before.model), _rows_of(second_rows, after.model)
                changes.append(_change(before, after, grader, rows, second.examples, seed))
    return changes


def _change(
    before: ModelResult,
    after: ModelResult,
    grader: str,
    rows: tuple[dict[str, Answered], dict[str, Answered]],
    examples: int,
    seed: int,
) -> Change:
    shared = [example for example in rows[0] if example in rows[1] and len(graded([its[example] for its in rows], grader)) == 2]
    paired = bool(shared) and 2 * len(shared) > max(len(rows[0]), len(rows[1]))
    then = [passed(rows[0][example], grader) for example in shared]
    now = [passed(rows[1][example], grader) for example in shared]
    accuracy = before.accuracy[grader], after.accuracy[grader]
    return Change(
        role=before.role,
        grader=grader,
        before=before.model,
        after=after.model,
        accuracy_before=accuracy[0],
        accuracy_after=accuracy[1],
        delta=paired_difference(now, then, seed=seed) if paired else unpaired_difference(accuracy[1], accuracy[0]),
        paired=paired,
        examples=len(shared) if paired else examples,
        fixed=sum(b and not a for a, b in zip(then, now, strict=True)),
        broken=sum(a and not b for a, b in zip(then, now, strict=True)),
    )


def _rows_of(rows: Sequence[Answered], model: str) -> dict[str, Answered]:
    return {row.example: row for row in rows if row.model == model}

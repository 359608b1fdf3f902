"""Two runs of an eval beside each other: what changed by criterion, paired by item, and whether the second is no worse."""

from __future__ import annotations

from stillhouse.errors import NotFoundError
from stillhouse.evaluation.comparing import Change, compare
from stillhouse.grade import Answered, Report
from stillhouse.jobs.eval_answers import answered_rows
from stillhouse.jobs.evals import EvalRun, find_run
from stillhouse.records import Record
from stillhouse.settings import Settings
from stillhouse.stores.base import Store


class Comparison(Record):
    margin: float
    criteria: tuple[Change, ...]


def compare_runs(store: Store, settings: Settings, eval_id: str | None, first: str, second: str, *, margin: float) -> Comparison:
    """The second run beside the first. Raises NotFoundError, for a run that has not ended well, too."""
    runs = [find_run(store, run_id, eval_id) for run_id in (first, second)]
    reports = [report_of(store, run) for run in runs]
    rows = [slim_rows(store, settings, run) for run in runs]
    return Comparison(margin=margin, criteria=tuple(compare(reports[0], reports[1], rows[0], rows[1], margin=margin)))


def report_of(store: Store, run: EvalRun) -> Report:
    """A run's report. Raises NotFoundError where it has none (yet)."""
    report = None if run.record.report is None else store.report(run.record.report)
    if report is None:
        state = "gone from the queue" if run.run is None else run.run.state
        raise NotFoundError(f"The run {run.id} has no report to compare: it is {state}.")
    return report


def slim_rows(store: Store, settings: Settings, run: EvalRun) -> list[Answered]:
    """A run's rows without their texts."""
    return [slim(row) for row in answered_rows(store, settings, run)]


def slim(row: Answered) -> Answered:
    """What intervals are made of."""
    return row.model_copy(update={"item": None, "sample": None, "answer": row.answer and "-"})

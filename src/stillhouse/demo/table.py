"""What the demo ends with: one table, of one report. It computes nothing that was not measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stillhouse.cli.output import new_table
from stillhouse.cli.report_table import percent, size_text
from stillhouse.grade import ModelResult, Report

if TYPE_CHECKING:
    from rich.table import Table

GRADER = "answer"
WHAT = {
    "teacher": "the teacher",
    "student": "the student",
    "control": "control: same size, answers alone",
    "base": "base: the student before training",
}


def result_table(report: Report, tasks: list[str]) -> Table:
    """A row a model: accuracy on each task, agreement with the teacher, size, speed."""
    columns = [f">{task.replace('_', ' ')}" for task in tasks]
    table = new_table("", *columns, ">agrees with teacher", ">parameters", ">on disk", ">median answer", title=_title(report))
    for result in report.results:
        table.add_row(
            WHAT[result.role],
            *(_accuracy(result, task) for task in tasks),
            "-" if result.agreement is None else percent(result.agreement),
            "-" if result.parameters is None else f"{result.parameters:,}",
            size_text(result.size_bytes),
            "-" if result.latency_p50_ms is None else f"{result.latency_p50_ms:.0f} ms",
        )
    return table


def _title(report: Report) -> str:
    return f"Right final answers on {report.examples} unseen questions with unseen names (95 % interval)"


def _accuracy(result: ModelResult, task: str) -> str:
    share = result.slices[f"task={task}"][GRADER]
    return f"{percent(share.value)} ({100 * share.low:.0f}-{100 * share.high:.0f})"

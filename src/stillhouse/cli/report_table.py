"""A report as a table: one column a model, one row a measure, the slices below. And its sentence in words.

Used by every command that ends with a report; it computes nothing that is not in the report already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from stillhouse.cli.output import new_table
from stillhouse.evaluation import Change, headline
from stillhouse.grade import Interval, ModelResult, Report

if TYPE_CHECKING:
    from rich.table import Table

    from stillhouse.jobs.comparing import Comparison

NONE = "-"
MOST_SLICES = 12
"""Rows of slices that a table shows; `--json` has all."""


def report_table(report: Report) -> Table:
    """The report, for people."""
    from rich.markup import escape

    columns = [f">{result.role}\n{escape(result.model)}" for result in report.results]
    table = new_table("", *columns, title=headline_text(report))
    for grader in report.graders:
        _row(table, f"accuracy ({grader})", [interval_text(result.accuracy[grader]) for result in report.results])
        means = [result.scores.get(grader) for result in report.results]
        _row(table, f"  mean score ({grader})", [NONE if mean is None else mean_text(mean) for mean in means])
        _row(table, f"  {headline(report).role} minus it", [_delta(report, result, grader) for result in report.results])
    for name, cell in _measures(report).items():
        _row(table, name, [cell(result) for result in report.results])
    _slices(table, report)
    return table


def headline_text(report: Report) -> str:
    """What a report says, in a sentence: who is right how often, and whether the difference to the teacher is certain."""
    head, grader = headline(report), report.graders[0]
    text = f"{report.examples:,} examples of {report.split}: the {head.role} is right on {interval_text(head.accuracy[grader])}"
    teacher = next((result for result in report.results if result.role == "teacher" and result is not head), None)
    if teacher is not None:
        delta = next((d.delta for d in report.differences if d.baseline == teacher.model and d.grader == grader), None)
        verdict = "no example that both were graded on" if delta is None else _verdict(delta)
        text += f", the teacher on {percent(teacher.accuracy[grader].value)}: {verdict}"
    return f"{text} ({grader})."


def comparison_text(comparison: Comparison) -> str:
    """Student against teacher: accuracy kept (of numbers: how far off both are), size, speed."""
    kept = "-" if comparison.retention is None else interval_text(comparison.retention)
    said = (
        f"The student keeps {kept} of the teacher's accuracy ({percent(comparison.student_accuracy)} of "
        f"{percent(comparison.teacher_accuracy)})"
    )
    if len(comparison.errors) == 2:
        far = {role: f"{error:.4g}" for role, error in comparison.errors.items()}
        said = f"The student's numbers are off by {far['student']}, root mean square, the teacher's by {far['teacher']},"
    text = (
        f"{said} with {comparison.smaller:.1f} times fewer parameters "
        f"({comparison.student_parameters:,} of {comparison.teacher_parameters:,})"
    )
    if comparison.faster is not None:
        speeds = comparison.texts_per_second
        text += f", {comparison.faster:.1f} times as fast ({speeds['student']:,.0f} texts/s against {speeds['teacher']:,.0f})"
    return f"{text}."


def changes_table(changes: Sequence[Change]) -> Table:
    """Two reports compared, for people."""
    table = new_table("role", "grader", ">before", ">after", ">change in points", ">fixed", ">broken", "examples")
    for change in changes:
        kind = "the same" if change.paired else "others, or rows not kept"
        table.add_row(
            change.role,
            change.grader,
            interval_text(change.accuracy_before),
            interval_text(change.accuracy_after),
            points(change.delta),
            str(change.fixed),
            str(change.broken),
            f"{change.examples:,}, {kind}",
        )
    return table


def interval_text(interval: Interval) -> str:
    """`94.1 % [92.0, 95.7]`."""
    return f"{percent(interval.value)} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def mean_text(interval: Interval) -> str:
    """`0.640 [0.581, 0.702]`: scores need not lie between 0 and 1."""
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def points(delta: Interval) -> str:
    """`-0.9 [-2.1, +0.3]`, in percentage points."""
    return f"{100 * delta.value:+.1f} [{100 * delta.low:+.1f}, {100 * delta.high:+.1f}]"


def percent(share: float) -> str:
    """`94.1 %`."""
    return f"{100 * share:.1f} %"


def size_text(size: int | None) -> str:
    """`3.2 MB`; bytes by the thousand, as disks are sold."""
    if size is None:
        return NONE
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def _measures(report: Report) -> dict[str, Callable[[ModelResult], str]]:
    currency = report.settings.get("currency") or ""
    return {
        "root mean square error": lambda result: NONE if result.numbers is None else f"{result.numbers.root_mean_square:.4g}",
        "correlation": _correlation,
        "agrees with the teacher": lambda result: NONE if result.agreement is None else percent(result.agreement),
        "failed": lambda result: f"{result.failed:,}",
        "not graded": lambda result: f"{sum(result.ungraded.values()):,}" if result.ungraded else NONE,
        "latency p50": lambda result: _milliseconds(result.latency_p50_ms),
        "latency p95": lambda result: _milliseconds(result.latency_p95_ms),
        "tokens in": lambda result: f"{result.prompt_tokens:,}",
        "tokens out": lambda result: f"{result.completion_tokens:,}",
        "judged with tokens": lambda result: _judged(result),
        "cost": lambda result: NONE if result.cost is None else f"{result.cost:.4f} {currency}",
        "parameters": lambda result: NONE if result.parameters is None else f"{result.parameters:,}",
        "size on disk": lambda result: size_text(result.size_bytes),
    }


def _correlation(result: ModelResult) -> str:
    found = None if result.numbers is None else result.numbers.correlation
    return NONE if found is None else f"{found:.3f}"


def _row(table: Table, name: str, cells: Sequence[str]) -> None:
    """Left out where no model has a value."""
    if any(cell != NONE for cell in cells):
        table.add_row(name, *cells)


def _slices(table: Table, report: Report) -> None:
    """By the first grader, the headline's worst first: what a small share of the examples hides is seen first."""
    from rich.markup import escape

    grader, head = report.graders[0], headline(report)
    worst = sorted((key for key in head.slices if grader in head.slices[key]), key=lambda key: head.slices[key][grader].value)
    sizes = report.settings.get("slice_sizes") or {}
    if worst:
        table.add_section()
    for key in worst[:MOST_SLICES]:
        shares = [result.slices.get(key, {}).get(grader) for result in report.results]
        cells = [NONE if share is None else interval_text(share) for share in shares]
        table.add_row(escape(f"{key} ({sizes.get(key, '?')})"), *cells)
    if len(worst) > MOST_SLICES:
        table.add_row(f"... {len(worst) - MOST_SLICES} better slices: --json", *[""] * len(report.results))


def _delta(report: Report, result: ModelResult, grader: str) -> str:
    found = [d.delta for d in report.differences if d.baseline == result.model and d.grader == grader]
    return points(found[0]) if found else NONE


def _verdict(delta: Interval) -> str:
    if delta.low <= 0 <= delta.high:
        return f"{points(delta)} points, no certain difference"
    return f"{points(delta)} points, certainly {'better' if delta.low > 0 else 'worse'}"


def _judged(result: ModelResult) -> str:
    used = sum(usage.prompt_tokens + usage.completion_tokens for usage in result.judging.values())
    return f"{used:,}" if result.judging else NONE


def _milliseconds(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"

"""A dataset's report as tables: sizes and lengths, labels, coverage, the curve; then what follows from them, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stillhouse.cli.output import new_table, plain

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from stillhouse.curation.covering import Coverage
    from stillhouse.curation.describing import Description
    from stillhouse.evaluation.learning_curves import LearningCurve
    from stillhouse.jobs.data_report import DataReport

SHOWN = 8
"""Labels and clusters of a table; `--json` has all."""


def report_tables(report: DataReport) -> Group:
    """The report, for people."""
    from rich.console import Group
    from rich.text import Text

    tables: list[Any] = [_sizes(report.name, report.description)]
    if report.description.labels is not None:
        tables.append(_labels(report.description))
    tables.append(_coverage(report.coverage))
    if report.coverage.thin:
        tables.append(_thin(report.coverage))
    if report.curve is not None:
        tables.append(_curve(report.curve))
    return Group(*tables, *(Text(f"- {sentence}") for sentence in report.words))


def _sizes(name: str, found: Description) -> Table:
    table = new_table(name, ">rows", ">question: median", ">95 %", ">longest", ">answer: median", ">95 %", ">longest")
    for split, rows in found.counts.items():
        if rows:
            cells = [
                lengths for by in (found.questions[split], found.answers[split]) for lengths in (by.median, by.p95, by.longest)
            ]
            table.add_row(split, f"{rows:,}", *(f"{cell:,}" for cell in cells))
    table.add_section()
    again = found.duplicates
    table.add_row("exact duplicates", f"{again.exact:,}")
    table.add_row("near duplicates", f"{again.near:,}")
    table.add_row("prompts with several answers", f"{again.contradictions:,}")
    table.add_row("leaking pairs", f"{found.leaks:,}")
    return table


def _labels(found: Description) -> Table:
    assert found.labels is not None
    counts = list(found.labels.counts.items())
    table = new_table(f"{len(counts)} labels", ">rows of train")
    shown = counts if len(counts) <= SHOWN else [*counts[: SHOWN // 2], ("...", 0), *counts[-SHOWN // 2 :]]
    for label, count in shown:
        table.add_row(plain(label), f"{count:,}" if count else "")
    return table


def _coverage(found: Coverage) -> Table:
    table = new_table(f"covered ({found.near:.2f} alike)", ">texts", ">near a training text", ">median likeness")
    for origin, each in found.covered.items():
        table.add_row(plain(origin), f"{each.texts:,}", f"{each.near / each.texts * 100:.1f} %", f"{each.median:.2f}")
    return table


def _thin(found: Coverage) -> Table:
    origins = list(found.covered)
    table = new_table("thinly covered: questions like", ">train", *(f">{origin}" for origin in origins))
    for cluster in found.thin[:SHOWN]:
        table.add_row(plain(cluster.middle), f"{cluster.train:,}", *(f"{cluster.others[origin]:,}" for origin in origins))
    return table


def _curve(curve: LearningCurve) -> Table:
    title = f"learning curve ({curve.student}, {curve.examples:,} of {curve.held_out})"
    table = new_table(title, ">accuracy", ">95 %", ">seeds")
    for point in curve.points:
        around = f"{point.accuracy.low * 100:.1f} to {point.accuracy.high * 100:.1f}"
        seeds = ", ".join(f"{each * 100:.1f}" for each in point.seeds)
        table.add_row(f"{point.n:,}", f"{point.accuracy.value * 100:.1f} %", around, seeds)
    if curve.doubled is not None:
        table.add_section()
        expected = curve.doubled.accuracy
        around = f"{expected.low * 100:.1f} to {expected.high * 100:.1f}"
        table.add_row(f"{curve.doubled.n:,}, expected", f"{expected.value * 100:.1f} %", around, "")
    if curve.check is not None:
        said = curve.check.predicted
        around = f"{said.low * 100:.1f} to {said.high * 100:.1f}"
        table.add_row(f"{curve.check.n:,}, by the smaller sizes", f"{said.value * 100:.1f} %", around, "")
    return table

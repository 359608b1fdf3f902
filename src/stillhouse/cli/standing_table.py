"""What `cot report` does between its options and the verbs: sources in, a table, JSON and plots out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillhouse.charts import svg
from stillhouse.cli.output import Session, new_table
from stillhouse.curation.rationales import Rule
from stillhouse.errors import UsageError
from stillhouse.evaluation.standings import Standing, panels, standings
from stillhouse.files import write_atomic
from stillhouse.jobs.standing_sources import measures_of

if TYPE_CHECKING:
    from rich.table import Table


def reported(
    session: Session, sources: Sequence[str], rule: Rule, split: str, answers: str | None, svg_file: Path | None, over: str
) -> None:
    """Gather, print, draw. Raises UsageError where the plot would have no point, and what the sources raise."""
    if over not in ("d", "size"):
        raise UsageError(f"--over is d or size; got '{over}'.")
    measures = [
        each for source in sources for each in measures_of(session.workspace, source, rule=rule, split=split, answers=answers)
    ]
    lines = standings(measures)
    if svg_file is not None:
        drawn = panels(lines, "d" if over == "d" else "parameters")
        if not drawn:
            what = "rationales a question (D)" if over == "d" else "the students' parameters"
            raise UsageError(f"There is nothing to plot: no measure says {what}. Stored reports and files of measures do.")
        write_atomic(svg_file, svg(drawn).encode())
        session.say(f"The plot is {svg_file}.")
    session.emit({"standings": lines}, lambda: standing_table(lines))


def standing_table(lines: Sequence[Standing]) -> Table:
    """One row a line, accuracy in percent with its interval."""
    table = new_table("task", "who", "model", ">D", ">parameters", "decoding", ">runs", ">questions", ">accuracy %", "95 %")
    for line in lines:
        figure = line.accuracy
        table.add_row(
            line.task,
            line.role,
            line.model or "-",
            "-" if line.d is None else str(line.d),
            "-" if line.parameters is None else f"{line.parameters:,}",
            "-" if line.role in ("majority", "random") else line.decoding,
            str(line.runs),
            f"{line.n:,}",
            f"{100 * figure.value:.1f}",
            f"{100 * figure.low:.1f} to {100 * figure.high:.1f}",
        )
    return table

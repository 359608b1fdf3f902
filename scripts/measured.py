"""Write the measured lines of docs/methods.md from the benchmarks' own figures, so that no number there is typed by hand.

    python benchmarks/decoders.py --json > docs/measured/decoders.json      (encoders, t5 alike)
    python benchmarks/decoders.py --methods all --seeds 1 --json > docs/measured/decoders-all.json
    python scripts/measured.py            rewrite the blocks between `<!-- measured: BENCHMARK/METHOD -->` and `<!-- end -->`
    python scripts/measured.py --check    exit with 1 where one is not what the figures say

A method is compared with cross-entropy alone: the same student, data, order, steps and seeds. Of a method that was measured more
than once, the call with the most seeds counts.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
CHAPTER = ROOT / "docs" / "methods.md"
FIGURES = ROOT / "docs" / "measured"
BASELINE = "cross-entropy"
MARKER = re.compile(r"(<!-- measured: (\w+)/(.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


class Figure(NamedTuple):
    """One number of a summary."""

    key: str
    words: str
    share: bool = False
    """Of 1, and written in percent; its differences in points."""


class Benchmark(NamedTuple):
    """Which numbers of it are told, and the words it is called by."""

    command: str
    figures: tuple[Figure, ...]


_KL = Figure("kl", "KL to the teacher")
BENCHMARKS = {
    "decoders": Benchmark(
        "python benchmarks/decoders.py --methods all",
        (_KL, Figure("cross_entropy", "cross-entropy"), Figure("same", "the teacher's first choice", share=True)),
    ),
    "encoders": Benchmark(
        "python benchmarks/encoders.py --methods all",
        (Figure("accuracy", "accuracy", share=True), Figure("agreement", "the teacher's choice", share=True), _KL),
    ),
    "t5": Benchmark("python benchmarks/t5.py", (_KL, Figure("exact_match", "right answers", share=True))),
}

Rows = Sequence[Mapping[str, Any]]


def known(folder: Path = FIGURES) -> dict[str, Rows]:
    """The summaries there are, by benchmark."""
    return {
        name: [row for path in sorted(folder.glob(f"{name}*.json")) for row in json.loads(path.read_text(encoding="utf-8"))]
        for name in BENCHMARKS
    }


def with_figures(chapter: str, summaries: Mapping[str, Rows]) -> str:
    """The chapter with every block written anew. Raises KeyError for a benchmark that is not known."""

    def block(found: re.Match[str]) -> str:
        begin, benchmark, method, _, end = found.groups()
        return f"{begin}{textwrap.fill(line(benchmark, method, summaries.get(benchmark, ())), 128)}\n{end}"

    return MARKER.sub(block, chapter)


def line(benchmark: str, method: str, rows: Rows) -> str:
    """What a block says: one student after the other, where there are several."""
    bench = BENCHMARKS[benchmark]
    mine = [row for row in rows if row["method"] == method]
    if not mine:
        return f"Measured: not measured yet (`{bench.command}`, {method})."
    most = max(row["seeds"] for row in mine)
    mine = [row for row in mine if row["seeds"] == most]
    said = "; ".join(_said(bench, row, _baseline(rows, row)) for row in mine)
    against = "" if method == BASELINE else f", against {BASELINE} alone"
    return f"Measured ({benchmark}, {method}): {said}{against}. {most} seed{'s'[: most > 1]}: `{_command(bench, mine[0])}`."


def _command(bench: Benchmark, row: Mapping[str, Any]) -> str:
    return f"{bench.command} --seeds {row['seeds']}"


def _baseline(rows: Rows, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The same student by cross-entropy, of as many seeds. None for itself, and where it was not run."""
    alike = [other for other in rows if all(other.get(key) == row.get(key) for key in ("student", "seeds"))]
    same = [other for other in alike if other["method"] == BASELINE]
    return same[0] if same and row["method"] != BASELINE else None


def _said(bench: Benchmark, row: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> str:
    student = f"{row['student']}: " if "student" in row else ""
    return student + ", ".join(_number(figure, row, baseline) for figure in bench.figures)


def _number(figure: Figure, row: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> str:
    """`accuracy 61.2 % ± 0.8 (+9.1)`: the mean, its spread over the seeds, the difference."""
    times, digits, unit = (100, 1, " %") if figure.share else (1, 4, "")
    value, spread = row[figure.key] * times, row.get(f"{figure.key}_spread")
    around = "" if spread is None else f" ± {spread * times:.{digits}f}"
    difference = "" if baseline is None else f" ({value - baseline[figure.key] * times:+.{digits}f})"
    return f"{figure.words} {value:.{digits}f}{unit}{around}{difference}"


def main() -> int:
    chapter = CHAPTER.read_text(encoding="utf-8")
    written = with_figures(chapter, known())
    if "--check" in sys.argv[1:]:
        return 0 if written == chapter else 1
    CHAPTER.write_text(written, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

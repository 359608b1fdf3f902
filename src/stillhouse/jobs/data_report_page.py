"""A data report as a page: one HTML file that fetches nothing and runs nothing, its curve drawn as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from stillhouse.charts import Line, Panel, Point, svg
from stillhouse.curation.covering import Coverage
from stillhouse.curation.describing import Description
from stillhouse.evaluation.learning_curves import LearningCurve
from stillhouse.grade import Interval
from stillhouse.jobs.data_report import DataReport

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse}
th,td{text-align:right;padding:.25rem .7rem;border-bottom:1px solid #d9dde3;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}svg{max-width:100%;height:auto}
@media(prefers-color-scheme:dark){body{color:#e8e8e8;background:#15181c}th,td{border-color:#333a43}}
"""


def page(report: DataReport) -> str:
    """The whole page. What it quotes of the data is escaped."""
    parts = [
        f"<h1>{escape(report.name)}</h1><p>{escape(report.fingerprint)}</p>",
        "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in report.words) + "</ul>",
        *_described(report.description),
        *_covered(report.coverage),
        *([] if report.curve is None else _curve(report.curve)),
    ]
    head = f"<meta charset=utf-8><title>{escape(report.name)}: data report</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>"


def _described(found: Description) -> list[str]:
    header = ("", "rows", "question: median", "95 %", "longest", "answer: median", "95 %", "longest")
    rows = []
    for split, count in found.counts.items():
        if count:
            asked, said = found.questions[split], found.answers[split]
            rows.append((split, count, asked.median, asked.p95, asked.longest, said.median, said.p95, said.longest))
    again = found.duplicates
    counted = [
        ("exact duplicates", again.exact),
        ("near duplicates", again.near),
        ("prompts with several answers", again.contradictions),
        ("leaking pairs", found.leaks),
    ]
    parts = [
        "<h2>Size and length, in characters</h2>",
        _table(header, rows),
        "<h2>Duplicates and leaks</h2>",
        _table((), counted),
    ]
    if found.labels is not None:
        parts += ["<h2>Labels</h2>", _table(("", "rows of train"), list(found.labels.counts.items()))]
    return parts


def _covered(found: Coverage) -> list[str]:
    rows = [(origin, each.texts, f"{each.near / each.texts * 100:.1f} %") for origin, each in found.covered.items()]
    parts = ["<h2>Coverage</h2>", _table(("", "texts", "near a training text"), rows)]
    origins = list(found.covered)
    clusters = [(each.middle, each.train, *(each.others[origin] for origin in origins)) for each in found.clusters]
    return [*parts, "<h2>Questions like</h2>", _table(("", "train", *origins), clusters)]


def _curve(curve: LearningCurve) -> list[str]:
    rows = [
        (
            f"{point.n:,}",
            f"{point.accuracy.value * 100:.1f} %",
            f"{point.accuracy.low * 100:.1f} to {point.accuracy.high * 100:.1f}",
        )
        for point in curve.points
    ]
    title = f"Learning curve: {curve.student}, {curve.examples:,} of {curve.held_out}"
    return [f"<h2>{escape(title)}</h2>", _drawn(curve), _table(("texts", "accuracy", "95 %"), rows)]


def _drawn(curve: LearningCurve) -> str:
    lines = [Line(name="measured", points=tuple(_point(each.n, each.accuracy) for each in curve.points))]
    if curve.doubled is not None:
        lines.append(Line(name="expected of twice as many", points=(_point(curve.doubled.n, curve.doubled.accuracy),)))
    return svg([Panel(title=curve.student, x_label="texts learned from", lines=tuple(lines))])


def _point(n: int, accuracy: Interval) -> Point:
    return Point(x=n, y=accuracy.value, low=accuracy.low, high=accuracy.high)


def _table(header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(_cell(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>" if header else f"<table>{body}</table>"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)

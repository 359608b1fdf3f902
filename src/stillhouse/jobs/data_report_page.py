"""A data report as a page: one HTML file that fetches nothing and runs nothing, its curve drawn as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from stillhouse.curation.covering import Coverage
from stillhouse.curation.describing import Description
from stillhouse.evaluation.learning_curves import LearningCurve
from stillhouse.jobs.data_report import DataReport

WIDTH, HEIGHT, LEFT, BELOW = 640, 300, 56, 36
"""Of the drawing, and of its margins, in its own units."""
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse}
th,td{text-align:right;padding:.25rem .7rem;border-bottom:1px solid #d9dde3;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}svg{max-width:100%;height:auto}
svg text{font:12px system-ui,sans-serif;fill:currentColor}
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
    """Accuracy over the number of texts, which grows by doublings from left to right."""
    last = curve.doubled.n if curve.doubled is not None else curve.points[-1].n
    first = min(curve.points[0].n, last - 1)
    low = math.floor(min(point.accuracy.low for point in curve.points) * 10) / 10

    def x(n: float) -> float:
        return LEFT + (WIDTH - 2 * LEFT) * math.log(n / first) / math.log(last / first)

    def y(accuracy: float) -> float:
        return 12 + (HEIGHT - BELOW - 12) * (1 - accuracy) / (1 - low)

    drawn = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(curve.words, quote=True)}">']
    for tenth in range(round(low * 10), 11):
        drawn.append(f'<path d="M{LEFT} {y(tenth / 10):.1f}H{WIDTH - LEFT}" stroke="#8888" fill="none"/>')
        drawn.append(f'<text x="{LEFT - 6}" y="{y(tenth / 10) + 4:.1f}" text-anchor="end">{tenth * 10} %</text>')
    for point in curve.points:
        drawn.append(f'<path d="M{x(point.n):.1f} {y(point.accuracy.low):.1f}V{y(point.accuracy.high):.1f}" stroke="#2b6cb0"/>')
        drawn.append(f'<circle cx="{x(point.n):.1f}" cy="{y(point.accuracy.value):.1f}" r="3.5" fill="#2b6cb0"/>')
        drawn.append(f'<text x="{x(point.n):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{point.n:,}</text>')
    if curve.law is not None and curve.doubled is not None:
        sizes = [first * (last / first) ** (step / 60) for step in range(61)]
        line = "L".join(f"{x(n):.1f} {y(max(low, 1 - curve.law.error(n))):.1f}" for n in sizes)
        drawn.append(f'<path d="M{line}" stroke="#2b6cb0" stroke-dasharray="5 4" fill="none"/>')
        drawn.append(f'<text x="{x(last):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{last:,}?</text>')
    return "".join([*drawn, "</svg>"])


def _table(header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(_cell(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>" if header else f"<table>{body}</table>"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)

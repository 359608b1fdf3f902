"""A run's page for people, and two runs beside each other: what the SDK has no method for.

The page is one HTML file without scripts or anything fetched from elsewhere. Everything in it that was written by others is
escaped, and the policy that comes with it lets nothing run. Its link holds a token of its own, because a browser that follows
`report_url` can send no key.
"""

from __future__ import annotations

import asyncio
import hmac
from html import escape
from itertools import islice

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.describing import takes
from stillhouse.api.endpoint import Line
from stillhouse.api.eval_objects import run_status
from stillhouse.errors import InvalidParameterError, NotFoundError, PermissionRefusedError
from stillhouse.evaluation.blocks import numbered, standing_of
from stillhouse.evaluation.intervals import share
from stillhouse.evaluation.tallying import Count
from stillhouse.grade import Answered
from stillhouse.jobs.eval_answers import block_reader
from stillhouse.jobs.eval_comparing import compare_runs
from stillhouse.jobs.eval_graders import criterion_names
from stillhouse.jobs.evals import EvalRecord, EvalRun, find_eval, find_run
from stillhouse.settings import Settings
from stillhouse.stores.base import Store

ROWS = 50
"""On the page."""
LONGEST = 2000
"""Characters of a cell."""
HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}.quiet{color:#5a5a5a}
.verdict{font-size:1.15rem;margin:1rem 0;padding:.8rem 1rem;background:#f2f4f7;border-left:4px solid #44546a}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid #d9dde3}
td.number,th.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;font:13px/1.4 ui-monospace,monospace;max-height:14rem;overflow:auto}
.pass{color:#0b6b2d}.fail{color:#a11212}.error{color:#8a5a00}
@media(prefers-color-scheme:dark){body{color:#e8e8e8;background:#15181c}.quiet{color:#a5abb3}.verdict{background:#20252c}
th,td{border-color:#333a43}.pass{color:#6fce8b}.fail{color:#ff8a8a}.error{color:#f0b95a}}
"""


class EvalPages:
    """Handlers; store and files are read in threads."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    def routes(self) -> list[Line]:
        return [
            ("GET", "/evals/{eval_id}/runs/{run_id}", self.page, Policy.LINK),
            ("GET", "/api/evals/{eval_id}/compare", self.compare, Policy.KEY),
        ]

    @takes(query={"token": {"type": "string"}}, answers="text/html")
    async def page(self, call: Call) -> Reply:
        return Reply(200, (await asyncio.to_thread(self._page, call)).encode(errors="replace"), HEADERS)

    @takes(query={"runs": {"type": "string"}, "margin": {"type": "number"}})
    async def compare(self, call: Call) -> Reply:
        runs, margin = _two_runs(call.query.get("runs", "")), _margin(call.query.get("margin"))
        eval_id = call.path_parameter("eval_id")
        find_eval(self._store, eval_id)
        comparison = await asyncio.to_thread(compare_runs, self._store, self._settings, eval_id, *runs, margin=margin)
        body = {"object": "eval.comparison", "eval_id": eval_id, "runs": list(runs), **comparison.model_dump(mode="json")}
        return Reply.of(body)

    def _page(self, call: Call) -> str:
        eval_id, run_id, token = call.path_parameter("eval_id"), call.path_parameter("run_id"), call.query.get("token", "")
        try:
            found = find_run(self._store, run_id, eval_id)
            record = find_eval(self._store, eval_id)[1]
        except NotFoundError:
            found = None
        if found is None or not hmac.compare_digest(token.encode(), found.record.token.encode()):
            raise PermissionRefusedError("This link opens nothing: take the run's `report_url` as it stands.")
        rows = islice(numbered(found.record.blocks, block_reader(self._store, self._settings, found)), ROWS)
        return page_of(found, record, list(rows))


def page_of(found: EvalRun, record: EvalRecord, rows: list[tuple[int, Answered]]) -> str:
    """The page, whole."""
    title = escape(f"{record.name or found.eval}: {found.record.name}")
    total = found.record.rows.count if found.record.rows else found.record.tally.rows
    facts = [f"model {found.record.model or 'none asked'}", f"{total:,} rows", f"run {found.id}", f"eval {found.eval}"]
    parts = [
        f"<h1>{title}</h1>",
        f"<p class=quiet>{escape(' · '.join(facts))}</p>",
        f"<p class=verdict>{escape(in_words(found, total))}</p>",
        *([f"<p class=verdict>{escape(found.record.contamination['words'])}</p>"] if found.record.contamination else []),
        *([f"<p class=verdict>{escape(found.run.error)}</p>"] if found.run and found.run.error else []),
        "<h2>By criterion</h2>",
        _criteria_table(found, record),
        f"<h2>{f'The first {len(rows)} rows' if len(rows) < total else 'The rows'}</h2>",
        _rows_table(record, rows),
    ]
    head = f'<meta charset=utf-8><meta name=viewport content="width=device-width"><title>{title}</title><style>{STYLE}</style>'
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>"


def in_words(found: EvalRun, total: int) -> str:
    """How the run stands, in a sentence."""
    standings, status = found.record.tally.standings, run_status(found)
    done, passed, errored = found.record.tally.rows, standings.get("pass", 0), standings.get("error", 0)
    if status != "completed" and not done:
        return {"queued": "It waits for its turn.", "in_progress": "It has begun; no row is done yet."}.get(
            status, f"It is {status}; no row was done."
        )
    graded = done - errored
    answer = (
        "No row could be graded."
        if not graded
        else f"{passed:,} of {graded:,} graded rows pass every criterion: {_percent(passed, graded)}."
    )
    missing = f" {errored:,} could not be graded." if errored and graded else ""
    so_far = "" if status == "completed" else f" That is {done:,} of {total:,} rows; the run is {status}."
    return answer + missing + so_far


def _criteria_table(found: EvalRun, record: EvalRecord) -> str:
    lines = []
    for name, criterion in zip(criterion_names(record.testing_criteria), record.testing_criteria, strict=True):
        count = found.record.tally.graders.get(name, Count())
        graded = count.passed + count.failed
        pairwise = found.record.pairwise.get(name)
        note = f"<br><span class=quiet>{escape(pairwise['words'])}</span>" if pairwise else ""
        lines.append(
            f"<tr><td>{escape(name)}{note}<td>{escape(str(criterion.get('type')))}"
            f"<td class=number>{_percent(count.passed, graded) if graded else '-'}"
            f"<td class=number>{count.passed:,}<td class=number>{count.failed:,}<td class=number>{count.errored:,}"
        )
    numbers = "".join(f"<th class=number>{each}" for each in ("passed, with the 95 % interval", "passed", "failed", "not graded"))
    return f"<table><tr><th>criterion<th>grader{numbers}{''.join(lines)}</table>"


def _rows_table(record: EvalRecord, rows: list[tuple[int, Answered]]) -> str:
    names = criterion_names(record.testing_criteria)
    lines = []
    for position, row in rows:
        standing = standing_of(row)
        verdicts = "<br>".join(_verdict(name, row) for name in names)
        answer = row.answer if row.answer is not None else row.error or ""
        lines.append(
            f"<tr><td class=number>{position}<td class={standing}>{standing}<td><pre>{_cell(_item_text(row))}</pre>"
            f"<td><pre>{_cell(answer)}</pre><td>{verdicts}"
        )
    return f"<table><tr><th class=number>#<th>stands<th>item<th>answer<th>criteria{''.join(lines)}</table>"


def _verdict(name: str, row: Answered) -> str:
    grade = row.grades.get(name)
    if grade is None:
        return f"<span class=error>{_cell(name)}: {_cell(row.ungraded.get(name, 'not graded'))}</span>"
    reason = f": {_cell(grade.reason)}" if grade.reason else ""
    return f"<span class={'pass' if grade.passed else 'fail'}>{_cell(name)} {grade.score:g}{reason}</span>"


def _item_text(row: Answered) -> str:
    return "\n".join(f"{key}: {value}" for key, value in (row.item or {}).items())


def _cell(text: str) -> str:
    return escape(text if len(text) <= LONGEST else text[:LONGEST] + " ...")


def _percent(passed: int, total: int) -> str:
    interval = share(passed, total)
    return f"{100 * interval.value:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _two_runs(value: str) -> tuple[str, str]:
    runs = [each.strip() for each in value.split(",") if each.strip()]
    if len(runs) != 2 or runs[0] == runs[1]:
        raise InvalidParameterError("'runs' must be two ids of this eval's runs: ?runs=evalrun-A,evalrun-B.", "runs")
    return runs[0], runs[1]


def _margin(value: str | None) -> float:
    try:
        margin = 0.02 if value is None else float(value)
    except ValueError:
        margin = -1.0
    if not 0 <= margin < 1:
        raise InvalidParameterError(f"'margin' must be a share from 0 to 1, e.g. 0.02 for two points; got '{value}'.", "margin")
    return margin

"""A run's page: what others wrote in it stays text, and its token opens it. Two runs compared: what is asked wrongly."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from stillhouse.api.eval_pages import page_of
from stillhouse.app import App
from stillhouse.evaluation.tallying import Tally
from stillhouse.grade import Answered, Grade
from stillhouse.jobs.eval_rows import RowFiles
from stillhouse.jobs.evals import EvalRecord, EvalRun, EvalRunRecord
from stillhouse.run import Run, RunState
from tests.fakes.asgi import call

HOSTILE = "</pre></td><script>alert('x')</script><img src=x onerror=alert(1)>\"'><style>*{display:none}</style>{{item.q}}"


class Tags(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def row(position: int, *, passed: bool, text: str = "x") -> Answered:
    grade = Grade(score=float(passed), passed=passed, reason=text)
    return Answered(example=str(position), model="m", answer=text, grades={HOSTILE: grade}, item={"q": text})


def page(rows: list[Answered], state: RunState = "succeeded", total: int | None = None, **more: Any) -> str:
    record = EvalRecord(name=HOSTILE, data_source_config={}, testing_criteria=[{"type": "exact", "name": HOSTILE}], updated_at=1)
    kept = EvalRunRecord(
        name=HOSTILE,
        model=HOSTILE,
        data_source={},
        token="t",
        rows=RowFiles(count=len(rows) if total is None else total),
        tally=Tally().plus(rows, [HOSTILE]),
        **more,
    )
    run = Run(
        id="evalrun-1", kind="eval", name="r", state=state, created=1, spec={}, error=HOSTILE if state == "failed" else None
    )
    found = EvalRun(id="evalrun-1", eval="eval-1", created=1, record=kept, run=run)
    return page_of(found, record, list(enumerate(rows)))


def test_what_others_wrote_stays_text() -> None:
    known = {"words": HOSTILE}
    made = Tags(page([row(0, passed=True, text=HOSTILE)], "failed", contamination=known, pairwise={HOSTILE: known}))
    assert made.tags <= {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "p",
        "table",
        "tr",
        "th",
        "td",
        "pre",
        "span",
        "br",
    }
    assert not {name for name in made.attributes if name.startswith("on")} | (made.attributes & {"src", "href", "style"})
    assert made.text.count(HOSTILE) >= 8


@pytest.mark.parametrize(
    ("rows", "state", "total", "words"),
    [
        ([row(0, passed=True), row(1, passed=False)], "succeeded", None, "1 of 2 graded rows pass every criterion: 50.0 %"),
        ([row(0, passed=True)], "running", 4, "That is 1 of 4 rows; the run is in_progress."),
        ([], "queued", 4, "It waits for its turn."),
        ([], "cancelled", 4, "It is canceled; no row was done."),
        ([row(0, passed=True).model_copy(update={"answer": None})], "succeeded", None, "No row could be graded."),
    ],
)
def test_the_verdict_in_words(rows: list[Answered], state: RunState, total: int | None, words: str) -> None:
    assert words in Tags(page(rows, state, total)).text


def test_a_page_of_many_rows_stays_small() -> None:
    made = page([row(number, passed=True, text="y" * 100_000) for number in range(50)], total=100_000)
    assert len(made) < 700_000
    assert "The first 50 rows" in made


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=%00"])
async def test_no_page_opens_without_its_token_whether_it_is_there_or_not(app: App, query: str) -> None:
    answer = await call(app, "GET", f"/evals/eval-1/runs/evalrun-1{query}")
    assert answer.status == 403 and "report_url" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("", "runs"),
        ("?runs=a", "runs"),
        ("?runs=a,a", "runs"),
        ("?runs=a,b,c", "runs"),
        ("?runs=a,b&margin=x", "margin"),
        ("?runs=a,b&margin=-1", "margin"),
        ("?runs=a,b&margin=nan", "margin"),
    ],
)
async def test_a_comparison_that_cannot_be_is_refused_where_it_is_wrong(app: App, query: str, param: str) -> None:
    answer = await call(app, "GET", f"/api/evals/eval-1/compare{query}")
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


async def test_a_comparison_of_what_is_not_there(app: App) -> None:
    body = {
        "data_source_config": {"type": "custom", "item_schema": {"type": "object"}},
        "testing_criteria": [{"type": "exact", "name": "exact"}],
    }
    made = (await call(app, "POST", "/v1/evals", body)).json
    assert (await call(app, "GET", f"/api/evals/{made['id']}/compare?runs=a,b")).status == 404
    rows = [{"item": {"reference": "x"}, "sample": {"output_text": "x"}}]
    source = {"type": "jsonl", "source": {"type": "file_content", "content": rows}}
    runs = [(await call(app, "POST", f"/v1/evals/{made['id']}/runs", {"data_source": source})).json["id"] for _ in range(2)]
    answer = await call(app, "GET", f"/api/evals/{made['id']}/compare?runs={','.join(runs)}")
    assert answer.status == 404
    assert re.search("no report to compare", answer.json["error"]["message"])

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stillhouse.dataset import Example
from stillhouse.evaluation import Focus, evaluate, failures, focus_on, pick
from stillhouse.graders.exact import Exact
from stillhouse.prompts import prompt_hash
from tests.evaluation.models import PLAN, candidate, example, row

CARDS = ["my card was stolen yesterday", "when will my new card arrive", "the card machine ate my card", "我的卡什么时候到"]
RATES = ["what is the exchange rate today", "how do you set exchange rates", "is the rate for euros fair", "今天的汇率是多少"]
TEST = [example(n, "card", text, topic="card") for n, text in enumerate(CARDS[:2])] + [
    example(n + 2, "rate", text, topic="rate") for n, text in enumerate(RATES[:2])
]


def pooled(number: int, text: str) -> Example:
    return Example(id=f"p{number}", messages=[{"role": "user", "content": text}], answer="")


async def focused() -> Focus:
    """On a model that says `card` to everything."""
    report, rows = await evaluate(PLAN, [candidate("student", lambda question: "card")], TEST, [Exact()])
    failed = failures(rows, model="student-model", grader="exact")
    return focus_on(report, failed, TEST, model="student-model", grader="exact")


def test_failures_are_what_the_grader_did_not_pass_and_what_was_not_answered() -> None:
    rows = [
        row(1, right=True),
        row(2, right=False),
        row(3, right=True, answer=None),
        row(4, right=False, model="other"),
        row(5, right=True, grader="answer"),
    ]
    assert [each.example for each in failures(rows, model="m", grader="exact")] == ["e2", "e3", "e5"]


async def test_a_focus_says_what_failures_have_in_common_and_bars_the_whole_split() -> None:
    focus = await focused()
    assert focus.examples == ("e2", "e3")
    assert focus.labels == {"rate": 2}
    assert focus.metadata == {"topic": {"rate": 2}}
    assert {"g0", "g1", "g2", "g3", prompt_hash(TEST[0].messages)} <= set(focus.barred)
    assert Focus.model_validate_json(focus.json_bytes()) == focus


async def test_the_like_of_failures_are_picked_best_first() -> None:
    pool = [pooled(n, text) for n, text in enumerate([*CARDS, *RATES])]
    picked = [each.messages[0]["content"] for each in pick(await focused(), pool, per_failure=2)]
    assert "is the rate for euros fair" in picked[:2]
    assert not set(picked) & set(CARDS[:2] + RATES[:2])


async def test_rows_of_the_evaluated_split_are_never_picked_however_they_are_written() -> None:
    pool = [
        pooled(0, RATES[0].upper()),
        pooled(1, f"  {RATES[1].replace(' ', '   ')} "),
        Example(id="p2", messages=[{"role": "user", "content": "what exchange rate"}], answer="", group="g2"),
        pooled(3, "which exchange rate do you use today"),
    ]
    assert [each.id for each in pick(await focused(), pool)] == ["p3"]


def test_chinese_prompts_find_their_like() -> None:
    pool = [pooled(n, text) for n, text in enumerate([*CARDS, *RATES, "请问汇率怎么算", "卡丢了怎么办"])]
    focus = Focus(report="r", model="m", grader="exact", examples=("e",), prompts=("今天汇率怎么算的",))
    assert pick(focus, pool, per_failure=1)[0].messages[0]["content"] == "请问汇率怎么算"


@given(st.lists(st.text(max_size=30), max_size=8), st.lists(st.text(max_size=30), max_size=4), st.integers(1, 5))
def test_any_texts_are_picked_at_most_once_and_no_more_than_asked(texts: list[str], prompts: list[str], per_failure: int) -> None:
    pool = [pooled(number, text) for number, text in enumerate(texts)]
    focus = Focus(report="r", model="m", grader="exact", examples=(), prompts=tuple(prompts))
    picked = [each.id for each in pick(focus, pool, per_failure=per_failure)]
    assert len(picked) == len(set(picked)) <= per_failure * len(prompts)

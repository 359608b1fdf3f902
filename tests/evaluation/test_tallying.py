from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stillhouse.evaluation.tallying import Count, Spent, Tally
from stillhouse.grade import Answered, Grade, TokenUsage
from tests.evaluation.models import row

JUDGED = Grade(score=0.5, passed=True, usage={"judge": TokenUsage(requests=2, prompt_tokens=30, completion_tokens=4)})
VAIN = {"judge": TokenUsage(requests=3, prompt_tokens=9)}
ROWS = [
    row(0, right=True, latency_ms=5.0, prompt_tokens=10, completion_tokens=2),
    row(1, right=False, latency_ms=5.0, sample={"usage": {"prompt_tokens_details": {"cached_tokens": 7}}}),
    row(2, right=False, answer=None, error="refused"),
    row(3, right=True).model_copy(update={"grades": {"exact": JUDGED}, "ungraded": {"other": "away"}, "judged_in_vain": VAIN}),
]


def test_rows_add_up() -> None:
    tally = Tally().plus(ROWS, ["exact", "other"])
    assert tally.standings == {"pass": 1, "fail": 1, "error": 2}
    assert tally.graders == {"exact": Count(passed=2, failed=1, errored=1), "other": Count(errored=4)}
    assert tally.usage == {
        "m": Spent(requests=2, prompt_tokens=10, completion_tokens=2, cached_tokens=7),
        "judge": Spent(requests=5, prompt_tokens=39, completion_tokens=4),
    }
    assert tally.rows == 4


@given(st.lists(st.sampled_from(ROWS)), st.integers(0, 10))
def test_it_is_the_same_however_the_rows_are_cut(rows: list[Answered], cut: int) -> None:
    assert Tally().plus(rows[:cut], ["exact"]).plus(rows[cut:], ["exact"]) == Tally().plus(rows, ["exact"]) or not rows

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.graders.answer import Answer
from tests.graders.rows import grade


async def passes(reference: str, answer: str) -> bool:
    return (await grade(Answer(), answer, reference=reference)).passed


@pytest.mark.parametrize(
    ("reference", "answer", "passed"),
    [
        ("yes", "Ann flips it. Bob does not. So the answer is yes.", True),
        ("Ann flips it. So the answer is yes.", "Answer: Yes", True),
        ("yes", "First I thought: the answer is yes. But no: the answer is no.", False),
        ("1000", "So the answer is 1,000.", True),
        ("1000", "$1,000.00", True),
        ("-5", "-$5", True),
        ("-5", "So the answer is \u22125.", True),
        ("\u22121,000", "-1000", True),
        ("5", "\u22125", False),
        ("0.5", ".50", True),
        ("18", "１８", True),
        ("50%", "50", False),
        ("18", "18 km", False),
        ("1", "1.0000000000000000000000000001", False),
        ("100", "1,00", False),
        ("是", "抛了两次，还是正面。答案是：是。", True),
        ("是", "答案：不是。", False),
        ("四十二", "所以答案为四十二。", True),
    ],
)
async def test_only_the_final_answer_counts(reference: str, answer: str, passed: bool) -> None:
    assert await passes(reference, answer) is passed


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**12), max_value=10**12))
async def test_a_number_equals_itself_however_it_is_written(number: Decimal) -> None:
    assert await passes(f"{number:f}", f"The answer is {number:,f}.")
    assert await passes(f"{number:f}", f"{number:f}000")


@given(st.integers(0, 10**9), st.integers(0, 10**9))
async def test_different_numbers_differ(first: int, second: int) -> None:
    assert await passes(str(first), str(second)) is (first == second)

from __future__ import annotations

import pytest

from stillhouse.dataset import Example
from stillhouse.graders.exact import Exact


@pytest.mark.parametrize(
    ("answer", "passed"), [("Yes", True), (" Yes\n", True), ("yes", False), ("Yes.", False), ("Ｙes", False)]
)
async def test_every_character_counts_except_white_space_at_the_ends(answer: str, passed: bool) -> None:
    example = Example(id="e", messages=[], answer="Yes")
    assert (await Exact().grade(example, answer)).passed is passed


async def test_a_reason_quotes_both_and_cuts_what_is_long() -> None:
    grade = await Exact().grade(Example(id="e", messages=[], answer="yes"), "n" * 1000)
    assert "'yes'" in grade.reason
    assert len(grade.reason) < 200

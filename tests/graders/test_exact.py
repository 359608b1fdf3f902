from __future__ import annotations

import pytest

from stillhouse.graders.exact import Exact
from tests.graders.rows import grade


@pytest.mark.parametrize(
    ("answer", "passed"), [("Yes", True), (" Yes\n", True), ("yes", False), ("Yes.", False), ("Ｙes", False)]
)
async def test_every_character_counts_except_white_space_at_the_ends(answer: str, passed: bool) -> None:
    assert (await grade(Exact(), answer, reference="Yes")).passed is passed


async def test_a_reason_quotes_both_and_cuts_what_is_long() -> None:
    graded = await grade(Exact(), "n" * 1000, reference="yes")
    assert "'yes'" in graded.reason
    assert len(graded.reason) < 200

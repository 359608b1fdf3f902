from __future__ import annotations

import pytest

from stillhouse.graders.normalised import Normalised
from tests.graders.rows import grade


@pytest.mark.parametrize(
    ("reference", "answer", "passed"),
    [
        ("Yes", "  yes. ", True),
        ("42", "４２", True),
        ("STRASSE", "straße", True),
        ("a b", "a \n b", True),
        ("可以", "可以。", True),
        ("可以", "「可以」！", True),
        ("退款，谢谢", "退款,谢谢", True),
        ("可以", "不可以", False),
        ("C++", "C", False),
        ("C#", "C", False),
        ("-5", "5", False),
        (".5", "5", False),
        ("ab", "a b", False),
    ],
)
async def test_what_people_call_the_same(reference: str, answer: str, passed: bool) -> None:
    assert (await grade(Normalised(), answer, reference=reference)).passed is passed

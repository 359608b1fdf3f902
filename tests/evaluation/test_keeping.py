from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import FormatError, NotFoundError
from stillhouse.evaluation import rows_of
from stillhouse.evaluation.keeping import pack, unpack
from stillhouse.grade import Report
from tests.evaluation.models import row

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


@given(st.lists(st.tuples(texts, st.booleans())))
def test_rows_come_back_as_they_were(said: list[tuple[str, bool]]) -> None:
    rows = [row(number, right=right, answer=text) for number, (text, right) in enumerate(said)]
    assert unpack(pack(rows)) == rows


def test_cut_or_foreign_bytes_are_refused() -> None:
    whole = pack([row(1, right=True, answer="x" * 500)])
    for broken in (b"not zstd", whole[: len(whole) // 2], b""):
        with pytest.raises(FormatError):
            unpack(broken)


def test_a_report_without_rows_says_so() -> None:
    report = Report(id="r", name="n", created=0, dataset="d", split="test", examples=0, graders=(), results=())
    with pytest.raises(NotFoundError, match="without its rows"):
        rows_of(report, lambda name: b"")

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.evaluation.blocks import Block, Standing, numbered, put_block, row_at, rows_in, standing_of
from stillhouse.grade import Answered, Grade
from tests.evaluation.models import row


class Memory:
    """Content-addressed files, and which were read."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.read: list[str] = []

    def put(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        self.content[name] = data
        return name

    def get(self, name: str) -> bytes:
        self.read.append(name)
        return self.content[name]


def of(standing: Standing, number: int) -> Answered:
    if standing == "error":
        return row(number, right=False, answer=None, error="no answer")
    return row(number, right=standing == "pass")


def kept(standings: list[Standing], size: int) -> tuple[list[Block], list[Answered], Memory]:
    memory = Memory()
    rows = [of(standing, number) for number, standing in enumerate(standings)]
    blocks = [put_block(rows[begin : begin + size], memory.put) for begin in range(0, len(rows), size)]
    return blocks, rows, memory


STANDINGS: st.SearchStrategy[list[Standing]] = st.lists(st.sampled_from(["pass", "fail", "error"]), max_size=30)


@given(STANDINGS, st.integers(1, 7), st.sampled_from(["pass", "fail", "error", None]), st.booleans(), st.integers(1, 5))
def test_pages_put_together_are_the_rows(
    standings: list[Standing], size: int, wanted: Standing | None, newest_first: bool, limit: int
) -> None:
    blocks, rows, memory = kept(standings, size)
    expected = [(number, each) for number, each in enumerate(rows) if wanted in (None, standings[number])]
    found: list[tuple[int, Answered]] = []
    while True:
        after = found[-1][0] if found else None
        page = list(numbered(blocks, memory.get, after=after, standing=wanted, newest_first=newest_first))[:limit]
        if not page:
            break
        found += page
    assert found == (expected[::-1] if newest_first else expected)


@given(STANDINGS, st.integers(1, 7))
def test_every_row_is_found_at_its_position_and_none_beyond(standings: list[Standing], size: int) -> None:
    blocks, rows, memory = kept(standings, size)
    assert [row_at(blocks, position, memory.get) for position in range(len(rows))] == rows
    assert row_at(blocks, len(rows), memory.get) is None
    assert row_at(blocks, -1, memory.get) is None
    assert list(rows_in(blocks, memory.get)) == rows


def test_a_page_of_a_hundred_thousand_rows_reads_only_its_blocks() -> None:
    memory = Memory()
    passing = put_block([of("pass", number) for number in range(200)], memory.put)
    failing = put_block([of("pass", 0), of("fail", 1)], memory.put)
    blocks = [passing] * 499 + [failing]
    page = numbered(blocks, memory.get, standing="fail")
    assert next(page)[0] == 499 * 200 + 1
    assert memory.read == [failing.file]
    memory.read.clear()
    late = numbered(blocks, memory.get, after=300 * 200 + 7)
    assert next(late)[0] == 300 * 200 + 8
    assert len(memory.read) == 1


@pytest.mark.parametrize(
    ("changes", "standing"),
    [
        ({}, "pass"),
        ({"grades": {"a": Grade(score=1, passed=True), "b": Grade(score=0, passed=False)}}, "fail"),
        ({"grades": {"a": Grade(score=1, passed=True)}, "ungraded": {"b": "the judge is away"}}, "error"),
        ({"answer": None, "error": "refused"}, "error"),
        ({"grades": {}}, "error"),
    ],
)
def test_how_a_row_stands(changes: dict[str, object], standing: Standing) -> None:
    assert standing_of(row(0, right=True).model_copy(update=changes)) == standing

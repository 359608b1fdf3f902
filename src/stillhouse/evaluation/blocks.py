"""Rows kept in blocks: content-addressed files of some hundred rows, and an index that says what is in each.

A page is read without the rest, and a filtered one without the blocks that hold nothing of it. How files are kept is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from stillhouse.evaluation.keeping import pack, unpack
from stillhouse.grade import Answered
from stillhouse.records import Record

ROWS = 200
"""Of a whole block."""

Standing = Literal["pass", "fail", "error"]
"""How a row stands: every grader passed it, one did not, or one could not say (or there was no answer to grade)."""


class Block(Record):
    file: str
    """sha256 of the packed rows."""
    rows: int
    standings: dict[Standing, int]


def standing_of(row: Answered) -> Standing:
    if row.answer is None or row.ungraded or not row.grades:
        return "error"
    return "pass" if all(grade.passed for grade in row.grades.values()) else "fail"


def put_block(rows: Sequence[Answered], put: Callable[[bytes], str]) -> Block:
    """Keep some rows. `put` keeps bytes and returns their sha256."""
    standings: dict[Standing, int] = {}
    for row in rows:
        standings[standing_of(row)] = standings.get(standing_of(row), 0) + 1
    return Block(file=put(pack(rows)), rows=len(rows), standings=standings)


def rows_in(blocks: Sequence[Block], get: Callable[[str], bytes]) -> Iterator[Answered]:
    """All of them, a block at a time in memory. Raises NotFoundError, FormatError."""
    for block in blocks:
        yield from unpack(get(block.file))


def row_at(blocks: Sequence[Block], position: int, get: Callable[[str], bytes]) -> Answered | None:
    """The row at a position (from 0); None when there is none."""
    for block in blocks:
        if position < block.rows:
            return unpack(get(block.file))[position] if position >= 0 else None
        position -= block.rows
    return None


def numbered(
    blocks: Sequence[Block],
    get: Callable[[str], bytes],
    *,
    after: int | None = None,
    standing: Standing | None = None,
    newest_first: bool = False,
) -> Iterator[tuple[int, Answered]]:
    """(position, row) from behind position `after` on, those of one standing. Only blocks that hold such rows are read."""
    begin, places = 0, []
    for block in blocks:
        places.append((begin, block))
        begin += block.rows
    for begin, block in reversed(places) if newest_first else places:
        end = begin + block.rows
        beyond = after is not None and (begin >= after if newest_first else end <= after + 1)
        if beyond or (standing is not None and not block.standings.get(standing)):
            continue
        rows = list(enumerate(unpack(get(block.file)), begin))
        for position, row in reversed(rows) if newest_first else rows:
            there = after is None or (position < after if newest_first else position > after)
            if there and (standing is None or standing_of(row) == standing):
                yield position, row

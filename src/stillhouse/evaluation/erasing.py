"""Rows whose stored completion was deleted: how they stand and what they counted stays, every text of theirs goes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from stillhouse.evaluation.blocks import Block, put_block
from stillhouse.evaluation.keeping import unpack
from stillhouse.grade import Answered, Grade

DELETED = "The stored completion of this row was deleted, and its texts with it."


def erased(row: Answered) -> Answered:
    """The row without its texts: ids, scores, counts and times alone, so that what was added up stays true."""
    return Answered(
        example=row.example,
        model=row.model,
        answer=None if row.answer is None else "",
        error=row.error and DELETED,
        grades={name: _bare(grade) for name, grade in row.grades.items()},
        ungraded={name: why.partition(":")[0] for name, why in row.ungraded.items()},
        judged_in_vain=row.judged_in_vain,
        latency_ms=row.latency_ms,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        item=None if row.item is None else {"deleted": DELETED},
        sample=None,
    )


def without_texts_of(
    gone: Collection[str], blocks: Sequence[Block], get: Callable[[str], bytes], put: Callable[[bytes], str]
) -> tuple[Block, ...]:
    """The blocks, with rows made of a completion among `gone` erased; one that holds none stays the same block."""
    return tuple(_block_without(gone, block, get, put) for block in blocks)


def _block_without(gone: Collection[str], block: Block, get: Callable[[str], bytes], put: Callable[[bytes], str]) -> Block:
    rows = unpack(get(block.file))
    if not any(row.completion in gone for row in rows):
        return block
    return put_block([erased(row) if row.completion in gone else row for row in rows], put)


def _bare(grade: Grade) -> Grade:
    return Grade(score=grade.score, passed=grade.passed, parts=grade.parts, usage=grade.usage)

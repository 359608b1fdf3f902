"""The rows of an eval as OpenAI's API has them: one JSON object a line, `item` with the fields, perhaps `sample` with an answer.

Whether an item fits an eval's schema is the eval's affair; here is told what is no such row at all. No kind of the table of
formats: an item need not be a conversation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.formats.base import Quarantined, read_lines, row_of_json
from stillhouse.records import Record


class EvalItem(Record):
    """One row."""

    line: int
    """1 is the first line of the file."""
    item: dict[str, Any]
    sample: dict[str, Any] | None = None
    """An answer that was given already: `{"output_text": ...}` and what else is known of it."""


def read_items(path: Path) -> Iterator[EvalItem | Quarantined]:
    """Row by row, in bounded memory. Raises NotFoundError, FormatError."""
    return (row_of_json(line, "utf-8", eval_item) for line in read_lines(path))


def eval_item(number: int, value: Any) -> EvalItem:
    """The item of one line's JSON. Raises ValueError with the reason why it is none."""
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    item, sample = value.get("item"), value.get("sample")
    if not isinstance(item, dict):
        raise ValueError("'item' is missing or no object: a row is written {\"item\": {...}}")
    if sample is not None and not isinstance(sample, dict):
        raise ValueError("'sample' is no object")
    return EvalItem(line=number, item=item, sample=sample)

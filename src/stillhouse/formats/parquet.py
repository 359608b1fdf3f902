"""Parquet as Hugging Face datasets speak it: a column `messages` of role and content, or the columns `text` and `category`.

What a struct of strings cannot hold (parts, tool calls, tools, metadata) stands in JSON texts beside it, so that nothing is
lost on the way out and back. pyarrow is imported when a file is read or written, not before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from stillhouse.dataset import Example, Split
from stillhouse.errors import FormatError
from stillhouse.formats.base import Quarantined, Row, check_strings, open_file, quarantine, row_of_chat

BATCH_ROWS = 1000
"""Held in memory at a time."""


class Parquet:
    """Reads and writes Parquet files, zstd inside."""

    def read(self, path: Path, *, encoding: str = "utf-8") -> Iterator[Row | Quarantined]:
        """Row by row, numbered from 1; Parquet is always UTF-8. Raises NotFoundError, FormatError."""
        import pyarrow
        import pyarrow.parquet

        with open_file(path) as file:
            try:
                table = pyarrow.parquet.ParquetFile(file)
                columns = _columns(table.schema_arrow.names, path)
                number = 0
                for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                    for values in _objects(batch):
                        number += 1
                        yield _row(number, values)
            except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as exc:
                raise FormatError(f"{path.name} is not a whole Parquet file: {exc}") from exc

    def write(self, examples: Iterable[Example], path: Path) -> int:
        """One row an example: messages with the answer last, and its other fields; returns how many."""
        import pyarrow
        import pyarrow.parquet

        text = pyarrow.string()
        message = pyarrow.struct([("role", text), ("content", text), ("other", text)])
        fields = [("messages", pyarrow.list_(message)), ("reference", text), ("weight", pyarrow.float64())]
        schema = pyarrow.schema([*fields, ("metadata", text), ("tools", text), ("source", text), ("rejected", text)])
        count, rows = 0, iter(examples)
        with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
            while batch := [_columns_of(example) for example in islice(rows, BATCH_ROWS)]:
                writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))
                count += len(batch)
        return count

    def file_name(self, split: Split) -> str:
        return f"data/{split}-00000-of-00001.parquet"


_KNOWN = ("messages", "text", "category", "reference", "weight", "metadata", "tools", "rejected")


def _columns(names: list[str], path: Path) -> list[str]:
    if "messages" in names or {"text", "category"} <= set(names):
        return [name for name in names if name in _KNOWN]
    raise FormatError(f"{path.name} needs a column 'messages', or 'text' and 'category'; it has {', '.join(names) or 'none'}.")


def _objects(batch: Any) -> Iterator[dict[str, Any]]:
    rows: list[dict[str, Any]] = batch.to_pylist()
    return iter(rows)


def _row(number: int, values: dict[str, Any]) -> Row | Quarantined:
    try:
        row = _chat_row(number, values) if "messages" in values else _labelled_row(number, values)
        check_strings(row.model_dump())
        row.json_bytes()  # raises for what JSON cannot hold: images as bytes, dates
        return row
    except orjson.JSONDecodeError as exc:
        return quarantine(number, f"a column that should hold JSON does not: {exc}")
    except (ValueError, TypeError) as exc:
        return quarantine(number, str(exc), str(values))


def _chat_row(number: int, values: dict[str, Any]) -> Row:
    messages = values["messages"]
    if not isinstance(messages, list):
        raise ValueError("'messages' is not a list")
    return row_of_chat(
        number,
        [_message(message) for message in messages],
        reference=_text(values, "reference"),
        weight=_weight(values.get("weight")),
        metadata=_metadata(_json(values, "metadata")),
        tools=_json(values, "tools"),
        rejected=_text(values, "rejected"),
    )


def _message(value: Any) -> Any:
    """A message without the nulls a struct fills it with, and with what stands in `other`."""
    if not isinstance(value, dict):
        return value
    other = _json(value, "other") or {}
    if not isinstance(other, dict):
        raise ValueError("'other' is not a JSON object")
    return {key: item for key, item in value.items() if item is not None and key != "other"} | other


def _labelled_row(number: int, values: dict[str, Any]) -> Row:
    text, category = _text(values, "text"), _text(values, "category")
    if not (text and text.strip()):
        raise ValueError("'text' is empty")
    if not (category and category.strip()):
        raise ValueError("'category' is empty")
    label = category.strip()
    return Row(line=number, messages=[{"role": "user", "content": text}], answer=label, reference=label)


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"'{name}' is not text but {type(value).__name__}")
    return value


def _metadata(value: Any) -> dict[str, str]:
    """As texts; the nulls that a struct fills its fields with are no values."""
    if value is not None and not isinstance(value, dict):
        raise ValueError("'metadata' is not an object of texts")
    return {key: str(item) for key, item in (value or {}).items() if item is not None}


def _weight(value: Any) -> float:
    if value is None:
        return 1.0
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"the weight is {value!r}; allowed are 0 to 1")
    return float(value)


def _json(values: dict[str, Any], name: str) -> Any:
    """A column that holds JSON text, or that Arrow has already read as lists and structs."""
    value = values.get(name)
    return orjson.loads(value) if isinstance(value, str) else value


def _columns_of(example: Example) -> dict[str, Any]:
    messages = [*example.messages, {"role": "assistant", "content": example.answer}]
    return {
        "messages": [_struct(message) for message in messages],
        "reference": example.reference,
        "weight": example.weight,
        "metadata": orjson.dumps(example.metadata, option=orjson.OPT_SORT_KEYS).decode() if example.metadata else None,
        "tools": orjson.dumps(example.tools).decode() if example.tools is not None else None,
        "source": example.source,
        "rejected": example.rejected,
    }


def _struct(message: dict[str, Any]) -> dict[str, str | None]:
    plain = {key: value for key, value in message.items() if key in ("role", "content") and isinstance(value, str)}
    other = {key: value for key, value in message.items() if key not in plain}
    return {"role": None, "content": None, **plain, "other": orjson.dumps(other).decode() if other else None}

"""OpenAI's older fine-tuning file: one JSON object a line, `prompt` and `completion`. What the paper's students are trained on.

Both texts are kept to the character: the space that a completion begins with and the ` END` at its end are part of the lesson.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from stillhouse.dataset import Example, Split
from stillhouse.errors import UsageError
from stillhouse.formats.base import Quarantined, Row, check_encoding, read_lines, row_of_chat, row_of_json
from stillhouse.transcript import message_text


class PromptCompletion:
    """Reads and writes lines of `prompt` and `completion`."""

    def read(self, path: Path, *, encoding: str = "utf-8") -> Iterator[Row | Quarantined]:
        """Row by row. Raises NotFoundError, FormatError."""
        check_encoding(encoding)
        for line in read_lines(path):
            yield row_of_json(line, encoding, _row)

    def write(self, examples: Iterable[Example], path: Path) -> int:
        """Raises UsageError for an example that is more than one question."""
        lines = [orjson.dumps({"prompt": _prompt(each), "completion": each.answer}) + b"\n" for each in examples]
        path.write_bytes(b"".join(lines))
        return len(lines)

    def file_name(self, split: Split) -> str:
        return f"{split}.jsonl"


def _row(number: int, value: Any) -> Row:
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    for name in ("prompt", "completion"):
        if not isinstance(value.get(name), str):
            raise ValueError(f"'{name}' is missing or no text")
    messages = [{"role": "user", "content": value["prompt"]}, {"role": "assistant", "content": value["completion"]}]
    return row_of_chat(number, messages)


def _prompt(example: Example) -> str:
    if len(example.messages) != 1 or example.tools or not isinstance(example.messages[0].get("content"), str):
        raise UsageError(f"Example {example.id} is more than a text that is asked. Use openai_jsonl or parquet.")
    return message_text(example.messages[0])

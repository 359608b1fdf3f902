"""OpenAI's preference file (for DPO): one JSON object a line, `input` with messages, `preferred_output`, `non_preferred_output`.

Each output is a list of one assistant message with text. Written files hold OpenAI's fields and no others, so they can be
uploaded as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from stillhouse.dataset import Example, Split
from stillhouse.errors import UsageError
from stillhouse.formats.base import Quarantined, Row, check_encoding, check_tools, read_lines, row_of_chat, row_of_json


class OpenAIPreference:
    """Reads and writes OpenAI's preference JSONL."""

    def read(self, path: Path, *, encoding: str = "utf-8") -> Iterator[Row | Quarantined]:
        """Row by row: `answer` is the preferred output, `rejected` the other one. Raises NotFoundError, FormatError."""
        check_encoding(encoding)
        for line in read_lines(path):
            yield row_of_json(line, encoding, pair_row)

    def write(self, examples: Iterable[Example], path: Path) -> int:
        """One line an example; returns how many. Raises UsageError for one without a worse answer."""
        count = 0
        with path.open("wb") as file:
            for example in examples:
                file.write(orjson.dumps(pair_object(example), option=orjson.OPT_APPEND_NEWLINE))
                count += 1
        return count

    def file_name(self, split: Split) -> str:
        return f"{split}.jsonl"


def pair_object(example: Example) -> dict[str, Any]:
    """The example as OpenAI writes it. Raises UsageError where it has no worse answer."""
    if example.rejected is None:
        raise UsageError(
            f"The example {example.id} has no worse answer, and openai_preference holds pairs. Export as openai_jsonl instead."
        )
    asked: dict[str, Any] = {"messages": example.messages}
    return {
        "input": asked if example.tools is None else {**asked, "tools": example.tools},
        "preferred_output": [{"role": "assistant", "content": example.answer}],
        "non_preferred_output": [{"role": "assistant", "content": example.rejected}],
    }


def pair_row(number: int, value: Any) -> Row:
    """The row of one line's JSON. Raises ValueError with the reason why it is none."""
    if not isinstance(value, dict) or not isinstance(value.get("input"), dict):
        raise ValueError("not a JSON object with an 'input'")
    asked = value["input"]
    tools = check_tools(asked.get("tools"))
    messages = asked.get("messages")
    if not isinstance(messages, list):
        raise ValueError("'input' has no list of messages")
    worse = row_of_chat(number, [*messages, _said(value, "non_preferred_output")]).answer
    return row_of_chat(number, [*messages, _said(value, "preferred_output")], tools=tools, rejected=worse)


def _said(value: dict[str, Any], name: str) -> dict[str, Any]:
    output = value.get(name)
    if not (isinstance(output, list) and len(output) == 1 and isinstance(output[0], dict)):
        raise ValueError(f"'{name}' is not a list of one message")
    return {"role": "assistant", **output[0]}

"""OpenAI's chat fine-tuning file: one JSON object a line, `messages` (the last one the answer), perhaps `tools`.

`weight: 0` on the last message keeps the row and teaches nothing by it, as there; only the last answer of a conversation
becomes an example. Written files hold OpenAI's fields and no others, so they can be uploaded as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from stillhouse.dataset import Example, Split
from stillhouse.formats.base import Quarantined, Row, check_encoding, check_tools, read_lines, row_of_chat, row_of_json


class OpenAIJsonl:
    """Reads and writes OpenAI's chat fine-tuning JSONL."""

    def read(self, path: Path, *, encoding: str = "utf-8") -> Iterator[Row | Quarantined]:
        """Row by row. A byte order mark is accepted. Raises NotFoundError, FormatError."""
        check_encoding(encoding)
        for line in read_lines(path):
            yield row_of_json(line, encoding, chat_row)

    def write(self, examples: Iterable[Example], path: Path) -> int:
        """One line an example, UTF-8, no byte order mark; returns how many."""
        count = 0
        with path.open("wb") as file:
            for example in examples:
                file.write(orjson.dumps(chat_object(example), option=orjson.OPT_APPEND_NEWLINE))
                count += 1
        return count

    def file_name(self, split: Split) -> str:
        return f"{split}.jsonl"


def chat_object(example: Example) -> dict[str, Any]:
    """The example as OpenAI writes it. A weight between 0 and 1 becomes 1: there are only two there."""
    answer: dict[str, Any] = {"role": "assistant", "content": example.answer}
    if example.weight == 0:
        answer["weight"] = 0
    chat: dict[str, Any] = {"messages": [*example.messages, answer]}
    return chat if example.tools is None else {**chat, "tools": example.tools}


def chat_row(number: int, value: Any) -> Row:
    """The row of one line's JSON. Raises ValueError with the reason why it is none."""
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    tools = check_tools(value.get("tools"))
    if "preferred_output" in value:
        raise ValueError("a pair of answers: import the file with --format openai_preference")
    messages = value.get("messages")
    weight = messages[-1].get("weight", 1) if isinstance(messages, list) and messages and isinstance(messages[-1], dict) else 1
    if weight not in (0, 1):
        raise ValueError(f"the answer's weight is {weight!r}; allowed are 0 and 1")
    return row_of_chat(number, messages, tools=tools, weight=float(weight), metadata=_metadata(value.get("metadata")))


def _metadata(value: Any) -> dict[str, str]:
    return {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}

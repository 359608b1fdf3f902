"""OpenAI's reinforcement fine-tuning file: one JSON object a line, `messages` that end in a question, and what graders need.

It holds no answers, so its rows are no examples and it is no kind of the table of formats. Every field beside `messages` and
`tools` is the grader's own affair: its templates read the whole row as `item`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.chat import Message
from stillhouse.formats.base import Quarantined, check_messages, check_tools, read_lines, row_of_json
from stillhouse.records import Record


class Prompt(Record):
    """One question, to be answered by the student and graded."""

    line: int
    """1 is the first line of the file."""
    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    item: dict[str, Any]
    """The whole row, as templates see it: `{{item.reference}}`."""


def read_prompts(path: Path) -> Iterator[Prompt | Quarantined]:
    """Row by row, in bounded memory. Raises NotFoundError, FormatError."""
    return (row_of_json(line, "utf-8", prompt_row) for line in read_lines(path))


def prompt_row(number: int, value: Any) -> Prompt:
    """The prompt of one line's JSON. Raises ValueError with the reason why it is none."""
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    messages = check_messages(value.get("messages"))
    if messages[-1]["role"] not in ("user", "tool"):
        raise ValueError(f"it ends with a message of role '{messages[-1]['role']}', not with the user's question")
    return Prompt(line=number, messages=messages, tools=check_tools(value.get("tools")), item=value)

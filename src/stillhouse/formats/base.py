"""What a reader of foreign files yields: rows, and rows that were put aside with the line and the reason.

Every line of a file becomes exactly one of the two, so that imported + quarantined = lines, whatever the bytes. Nothing here
knows of ids, splits or duplicates: rows become examples in `curation`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar

import orjson

from stillhouse.chat import Message
from stillhouse.dataset import Example, Split
from stillhouse.errors import FormatError, NotFoundError, UsageError
from stillhouse.records import Record
from stillhouse.transcript import message_text

T = TypeVar("T")

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is put aside without being held in memory."""

BOM = b"\xef\xbb\xbf"
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Row(Record):
    """One usable row: a prompt and the answer that is to be learned."""

    line: int
    """1 is the first line of the file, a header included; of a table without lines, its first row."""
    messages: list[Message]
    """The prompt: everything before the answer."""
    answer: str
    reference: str | None = None
    weight: float = 1.0
    metadata: dict[str, str] = {}
    tools: list[dict[str, Any]] | None = None
    rejected: str | None = None
    """A worse answer to the same prompt."""


class Quarantined(Record):
    """One row that was not taken: where it stands and why."""

    line: int
    reason: str
    excerpt: str = ""
    """Its first characters, to recognise it by."""


class Format(Protocol):
    """A kind of foreign file."""

    def read(self, path: Path, *, encoding: str = "utf-8") -> Iterator[Row | Quarantined]:
        """Row by row, in bounded memory. Raises NotFoundError, and FormatError when the file as a whole cannot be read."""

    def write(self, examples: Iterable[Example], path: Path) -> int:
        """Write one split's examples; returns how many."""

    def file_name(self, split: Split) -> str:
        """Where a split lies within an exported folder."""


class Line(NamedTuple):
    number: int
    content: bytes
    """Without its line feed; cut at the limit when `too_long`."""
    too_long: bool = False


def open_file(path: Path) -> BinaryIO:
    """Open for reading. Raises NotFoundError, FormatError."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.") from None
    except OSError as exc:
        raise FormatError(f"{path} cannot be read: {exc.strerror}.") from exc


def read_lines(path: Path, limit: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """The lines of a file, numbered from 1, a byte order mark dropped; a line past `limit` bytes comes cut."""
    with open_file(path) as file:
        number = 0
        while content := file.readline(limit + 1):
            number += 1
            too_long = len(content) > limit and not content.endswith(b"\n")
            if too_long:
                _skip_line(file, limit)
            if number == 1:
                content = content.removeprefix(BOM)
            yield Line(number, content[:limit].removesuffix(b"\n"), too_long)


def check_encoding(encoding: str) -> str:
    """`encoding` as it is. Raises UsageError where it is unknown, or where a line feed is not one byte (UTF-16)."""
    try:
        if "\n,text".encode(encoding) == b"\n,text":
            return encoding
    except LookupError:
        pass
    raise UsageError(f"'{encoding}' cannot be read here. Use utf-8, gb18030, latin-1 or another encoding that extends ASCII.")


def row_of_json(line: Line, encoding: str, make: Callable[[int, Any], T]) -> T | Quarantined:
    """The row that `make` sees in a line's JSON, given its number; set aside where it is none, or `make` raises ValueError."""
    if line.too_long:
        return too_long(line)
    if not line.content.strip():
        return quarantine(line.number, "an empty line")
    try:
        value = orjson.loads(line.content.decode(encoding))
        check_strings(value)
        return make(line.number, value)
    except UnicodeDecodeError:
        reason = f"not valid {encoding}"
    except orjson.JSONDecodeError as exc:
        reason = f"not valid JSON: {exc}"
    except ValueError as exc:
        reason = str(exc)
    return quarantine(line.number, reason, line.content)


def quarantine(line: int, reason: str, content: str | bytes = "") -> Quarantined:
    """Put a row aside."""
    text = content if isinstance(content, str) else content[:400].decode("utf-8", "replace")
    return Quarantined(line=line, reason=reason, excerpt=printable(text[:80]))


def too_long(line: Line) -> Quarantined:
    """Put a line aside that is past the limit."""
    return quarantine(line.number, f"longer than {MAX_LINE_BYTES // 1024 // 1024} MiB", line.content[:400])


def printable(text: str) -> str:
    """`text` on one line, every character that cannot be shown or stored replaced."""
    return "".join(character if character.isprintable() else "�" for character in " ".join(text.split()))


def unstorable(text: str) -> str | None:
    """Why a text cannot be kept, or None."""
    if "\0" in text:
        return "it holds a NUL character"
    if _SURROGATE.search(text):
        return "it holds half of a surrogate pair"
    return None


def check_strings(value: Any) -> None:
    """Raises ValueError for a string somewhere in `value` that cannot be kept. Depth is bounded by the JSON parser."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if reason := unstorable(item):
                raise ValueError(reason)
        elif isinstance(item, dict):
            stack += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            stack += item


def row_of_chat(line: int, messages: Any, **fields: Any) -> Row:
    """A row from a conversation whose last message is the answer. Raises ValueError with the reason why it is none."""
    *prompt, last = check_messages(messages)
    if last["role"] != "assistant":
        raise ValueError(f"it ends with a message of role '{last['role']}', not with an assistant's answer")
    answer = message_text(last)
    if not answer.strip():
        raise ValueError("its answer is a tool call, without text" if last.get("tool_calls") else "its answer is empty")
    if not any(message["role"] not in ("system", "developer") for message in prompt):
        raise ValueError("there is no question before the answer")
    return Row(line=line, messages=prompt, answer=answer, **fields)


def check_messages(messages: Any) -> list[Message]:
    """`messages` as they are. Raises ValueError with the reason why they are no conversation."""
    if not isinstance(messages, list) or not messages:
        raise ValueError("'messages' is missing or empty")
    for position, message in enumerate(messages):
        _check_message(position, message)
    return messages


def check_tools(tools: Any) -> list[dict[str, Any]] | None:
    """`tools` as they are. Raises ValueError."""
    if tools is not None and not (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)):
        raise ValueError("'tools' is not a list of objects")
    return tools


def _check_message(position: int, message: Any) -> None:
    where = f"message {position + 1}"
    if not isinstance(message, dict):
        raise ValueError(f"{where} is {_kind(message)}, not an object")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise ValueError(f"{where} has the role {role!r}; allowed are {', '.join(ROLES)}")
    if content is not None and not isinstance(content, str | list):
        raise ValueError(f"{where} has a content that is {_kind(content)}, not text")
    if isinstance(content, list) and not all(isinstance(part, dict) for part in content):
        raise ValueError(f"{where} has content parts that are not objects")
    if role == "user" and not (content.strip() if isinstance(content, str) else content):
        raise ValueError(f"{where} is empty")


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), "an object")


def _skip_line(file: BinaryIO, chunk: int) -> None:
    while content := file.readline(chunk):
        if content.endswith(b"\n"):
            return

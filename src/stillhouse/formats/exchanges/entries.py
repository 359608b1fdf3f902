"""Entries of an export: a JSON array, an object that holds one, or an object a line; each becomes an exchange or is put aside.

Exports are made by hand and fit into memory, except those with a line an entry, which are read line by line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from stillhouse.errors import FormatError
from stillhouse.formats.base import Quarantined, open_file, quarantine, read_lines, too_long
from stillhouse.formats.exchanges.lines import Exchange, Origin, exchange_of

HOLDERS = ("data", "results", "observations", "logs")
"""Fields of a whole export that hold its entries."""


def read_log(
    path: Path, row_of: Callable[[dict[str, Any]], dict[str, Any]], origin: Origin
) -> Iterator[tuple[int, Exchange] | Quarantined]:
    """Number and exchange of every entry, or the entry put aside. Raises NotFoundError, FormatError."""
    for number, entry in _entries(path):
        if isinstance(entry, Quarantined):
            yield entry
            continue
        try:
            if not isinstance(entry, dict):
                raise ValueError("not a JSON object")
            yield number, exchange_of(row_of(entry), origin)
        except ValueError as exc:
            yield quarantine(number, str(exc), json.dumps(entry)[:200].encode())


def _entries(path: Path) -> Iterator[tuple[int, Any]]:
    whole = _whole(path)
    if whole is not None:
        yield from enumerate(whole, start=1)
        return
    for line in read_lines(path):
        if line.too_long:
            yield line.number, too_long(line)
        elif line.content.strip():
            try:
                yield line.number, orjson.loads(line.content)
            except orjson.JSONDecodeError as exc:
                yield line.number, quarantine(line.number, f"not valid JSON: {exc}", line.content)


def _whole(path: Path) -> list[Any] | None:
    """The entries of a file that is one JSON value; None where it has a value a line."""
    with open_file(path) as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
        if not start:
            raise FormatError(f"{path} is empty.")
        file.seek(0)
        try:
            value = orjson.loads(file.read().removeprefix(b"\xef\xbb\xbf")) if start[:1] in b"[{" else None
        except orjson.JSONDecodeError:
            return None
    while isinstance(value, dict):
        inner = next((value[name] for name in HOLDERS if isinstance(value.get(name), list | dict)), None)
        if inner is None:
            return [value]
        value = inner
    return value if isinstance(value, list) else None


def chat_of(value: Any, name: str) -> list[dict[str, Any]]:
    """What was asked, as messages: a list of them, an object that holds one, JSON of either, or a text. Raises ValueError."""
    if isinstance(value, str):
        try:
            parsed = orjson.loads(value)
        except orjson.JSONDecodeError:
            parsed = None
        if not isinstance(parsed, list | dict):
            return [{"role": "user", "content": value}]
        value = parsed
    if isinstance(value, dict):
        value = value.get("messages") if isinstance(value.get("messages"), list) else [value]
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) and "role" in each for each in value):
        raise ValueError(f"'{name}' holds no messages")
    return value


def completion_of(value: Any, model: str, name: str) -> dict[str, Any]:
    """What was answered, as a chat completion: one as it is, a message, or a text. Raises ValueError where nothing is there."""
    if isinstance(value, str):
        try:
            parsed = orjson.loads(value)
        except orjson.JSONDecodeError:
            parsed = None
        value = parsed if isinstance(parsed, dict) and ("choices" in parsed or "role" in parsed) else {"content": value}
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        raise ValueError(f"'{name}' holds no answer")
    if "choices" in value:
        return value
    message = value["message"] if isinstance(value.get("message"), dict) else value
    if not message.get("content") and not message.get("tool_calls"):
        raise ValueError(f"'{name}' holds no answer")
    said = {"role": "assistant", "content": message.get("content")}
    if message.get("tool_calls"):
        said["tool_calls"] = message["tool_calls"]
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    return {"model": model, "choices": [{"index": 0, "message": said, "finish_reason": value.get("finish_reason") or reason}]}


def seconds_of(value: Any) -> int | None:
    """A time as seconds since the epoch: ISO 8601, seconds, or milliseconds."""
    from datetime import UTC, datetime

    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value / 1000 if value > 1e11 else value)
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def strings_of(value: Any) -> dict[str, str]:
    """Metadata as OpenAI's API has it: at most 16 pairs of strings; other values as JSON, what is too long left out."""
    pairs = value if isinstance(value, dict) else {}
    texts = {
        key: each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)
        for key, each in pairs.items()
        if each is not None
    }
    return dict([(key, text) for key, text in texts.items() if len(key) <= 64 and len(text) <= 512][:16])

"""Whole exchanges as JSON lines: what `completions export` writes and `import jsonl` reads back, here or on another machine.

A line is `{"request": {...}, "response": {...}}` with the bodies as the API has them, or a chat `{"messages": [..., answer]}`
as fine-tuning files have it. Ids come from the content, so that a file read twice is kept once. It is no kind of the table of
formats: those hold examples, this holds what was captured.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from stillhouse.chat import parse_json
from stillhouse.completion import Completion
from stillhouse.formats.base import Line, Quarantined, check_strings, quarantine, read_lines, row_of_chat, too_long
from stillhouse.prompts import prompt_hash
from stillhouse.records import canonical_json
from stillhouse.transcript import assemble

INSTANCE = "import"
_OUR_ID = re.compile(r"chatcmpl-[0-9a-f]{12}7[0-9a-f]{19}")


class Exchange(NamedTuple):
    """A completion and its bytes, ready to be kept."""

    completion: Completion
    request: bytes
    response: bytes


class Origin(NamedTuple):
    """What is said of rows that do not say it themselves."""

    upstream: str
    model: str
    may_train: str = "yes"


def read_exchanges(path: Path, origin: Origin) -> Iterator[tuple[int, Exchange] | Quarantined]:
    """Line number and exchange, or the line put aside. Raises NotFoundError, FormatError."""
    seen: dict[str, tuple[int, bytes]] = {}
    for line in read_lines(path):
        found = too_long(line) if line.too_long else _exchange(line, origin)
        if not isinstance(found, Quarantined):
            _, (completion, request, response) = found
            digest = sha256(request + response).digest()
            first, content = seen.setdefault(completion.id, (line.number, digest))
            if content != digest:
                found = quarantine(line.number, f"its id is that of line {first}, which says something else", line.content)
        yield found


def exchange_line(completion: Completion, request: bytes, response: bytes) -> bytes:
    """One exchange as a line; a streamed answer is put together."""
    row = {
        "id": completion.id,
        "created": completion.created,
        "model": completion.model,
        "upstream": completion.upstream,
        "upstream_id": completion.upstream_id,
        "may_train": completion.may_train,
        "metadata": completion.metadata,
        "tags": completion.tags,
        "request": parse_json(request),
        "response": assemble(response, completion.stream),
    }
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # half a character somewhere: it leaves as the escape that it came as
        return json.dumps(row).encode() + b"\n"


def exchange_of(row: Any, origin: Origin) -> Exchange:
    """One row as it stands on a line. Raises ValueError, which says what is missing."""
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    check_strings(row)
    request, response = _bodies(row, origin)
    return _assembled(row, request, response, origin)


def _exchange(line: Line, origin: Origin) -> tuple[int, Exchange] | Quarantined:
    if not line.content.strip():
        return quarantine(line.number, "an empty line")
    try:
        return line.number, exchange_of(orjson.loads(line.content), origin)
    except orjson.JSONDecodeError as exc:
        return quarantine(line.number, f"not valid JSON: {exc}", line.content)
    except ValueError as exc:
        return quarantine(line.number, str(exc), line.content)


def _bodies(row: dict[str, Any], origin: Origin) -> tuple[dict[str, Any], dict[str, Any]]:
    """Request and response. Raises ValueError when the answer is not there, or not known to be whole."""
    if "messages" in row:
        chat = row_of_chat(1, row["messages"])
        model = _text(row, "model", origin.model)
        # Somebody has put this conversation into a training file: that it is whole is what the file says.
        message = {"role": "assistant", "content": chat.answer}
        asked = {"model": model, "messages": chat.messages, **({"tools": row["tools"]} if row.get("tools") else {})}
        return asked, {"model": model, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    request, response = row.get("request"), row.get("response")
    if not isinstance(request, dict) or not isinstance(response, dict):
        raise ValueError("neither 'request' and 'response' nor 'messages' is there")
    if not isinstance(request.get("messages"), list) or not request["messages"]:
        raise ValueError("its request has no messages")
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise ValueError("its response has no choices")
    if not all(isinstance(choice.get("finish_reason"), str) for choice in choices):
        raise ValueError("its answer has no finish reason: it may have broken off")
    return request, response


def _assembled(row: dict[str, Any], request: dict[str, Any], response: dict[str, Any], origin: Origin) -> Exchange:
    created = row.get("created") or response.get("created")
    created = created if isinstance(created, int) and 0 < created <= time.time() else None
    identifier = _identifier(row.get("id"), created, request, response)
    metadata, tags = row.get("metadata") or request.get("metadata"), row.get("tags")
    usage = response.get("usage") if isinstance(response.get("usage"), dict) else {}
    model = _text(row, "model", _text(request, "model", origin.model))
    completion = Completion(
        id=identifier,
        created=created or int(time.time()),
        state="complete",
        instance=INSTANCE,
        requested_model=_text(request, "model", model),
        model=model,
        upstream=_text(row, "upstream", origin.upstream),
        upstream_id=_text(row if "upstream_id" in row else {"upstream_id": response.get("id")}, "upstream_id", "") or None,
        status=200,
        finish_reason=response["choices"][0]["finish_reason"],
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        may_train=_text(row, "may_train", origin.may_train),
        prompt_hash=prompt_hash([message for message in request["messages"] if isinstance(message, dict)]),
        metadata={key: text for key, text in metadata.items() if isinstance(text, str)} if isinstance(metadata, dict) else {},
        tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
    )
    body = orjson.dumps({**response, "id": identifier})
    kept = completion.model_copy(update={"response_sha256": sha256(body).hexdigest()})
    return Exchange(kept, orjson.dumps(request), body)


def _identifier(given: Any, created: int | None, request: dict[str, Any], response: dict[str, Any]) -> str:
    """Our id if the line has one; else a UUIDv7 of its time (0 if unknown) with the content's hash where random bits go."""
    if isinstance(given, str) and _OUR_ID.fullmatch(given) and int(given[9:21], 16) <= time.time() * 1000:
        return given
    content = canonical_json([request, {key: value for key, value in response.items() if key != "id"}])
    digest = int.from_bytes(sha256(content).digest(), "big")
    value = (created or 0) * 1000 << 80 | 0x7 << 76 | (digest >> 64 & 0xFFF) << 64 | 0b10 << 62 | digest & (1 << 62) - 1
    return f"chatcmpl-{value:032x}"


def _text(values: dict[str, Any], key: str, otherwise: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) and value else otherwise


def _count(usage: Any, key: str) -> int | None:
    value = usage.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None

"""What was said, read from the bytes of an exchange: the prompt's messages, the answer as one chat.completion body.

Readers of stored payloads use it (lists of messages, datasets, search); the gateway never changes a byte by it. Nothing here
raises on foreign bytes: what cannot be read is left out, and the completion's state says that it was not whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse.chat import Message, parse_json
from stillhouse.sse import iter_events

_OURS_OF_CHOICE = ("index", "delta", "message")


def prompt_messages(request_raw: bytes) -> list[Message]:
    """The messages of a request body; empty when there are none to read."""
    messages = _object(request_raw).get("messages")
    return [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []


def message_text(message: Mapping[str, Any]) -> str:
    """The text of a message: its content, or its text parts, one a line."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(_part_text(part) for part in content if _part_text(part))


def prompt_text(request_raw: bytes) -> str:
    """All text of the prompt, for search."""
    return "\n".join(message_text(message) for message in prompt_messages(request_raw))


def answer_text(response_raw: bytes, stream: bool) -> str:
    """All text of the answer (every choice), for search."""
    return "\n".join(message_text(message) for message in _messages_of(assemble(response_raw, stream)))


def assemble(response_raw: bytes, stream: bool) -> dict[str, Any]:
    """The answer as a chat.completion body; a stream's chunks are put together. Empty when nothing can be read."""
    if not stream:
        return _object(response_raw)
    body: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for event in iter_events(response_raw):
        if event.body is not None:
            _add_chunk(body, choices, event.body)
    if not body and not choices:
        return {}
    return {**body, "object": "chat.completion", "choices": [_finished(choices[index]) for index in sorted(choices)]}


def _add_chunk(body: dict[str, Any], choices: dict[int, dict[str, Any]], chunk: dict[str, Any]) -> None:
    for key, value in chunk.items():
        if key != "choices" and (value is not None or key not in body):
            body[key] = value
    for part in _list_of_objects(chunk.get("choices")):
        index = part.get("index")
        index = index if isinstance(index, int) else 0
        choice = choices.setdefault(
            index, {"index": index, "message": {"role": "assistant", "content": None}, "logprobs": None, "finish_reason": None}
        )
        _add_choice(choice, part)


def _add_choice(choice: dict[str, Any], part: dict[str, Any]) -> None:
    for key, value in part.items():
        if key == "delta" and isinstance(value, dict):
            _add_delta(choice["message"], value)
        elif key == "logprobs":
            choice["logprobs"] = _continued(choice["logprobs"], value)
        elif key not in _OURS_OF_CHOICE and value is not None:
            choice[key] = value


def _add_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for key, value in delta.items():
        if key == "role":
            message["role"] = value if isinstance(value, str) and value else message["role"]
        elif key == "tool_calls":
            for call in _list_of_objects(value):
                _add_tool_call(message, call)
        else:
            message[key] = _continued(message.get(key), value)


def _add_tool_call(message: dict[str, Any], call: dict[str, Any]) -> None:
    calls = message.setdefault("tool_calls", [])
    index = call.get("index")
    known = next((c for c in calls if c.get("index") == index), None)
    if known is None:
        known = {"index": index}
        calls.append(known)
    for key, value in call.items():
        if key == "function":
            known[key] = _continued(known.get(key), value)
        elif value is not None:
            known[key] = value


def _continued(old: Any, new: Any) -> Any:
    """Strings and lists are continued, objects field by field; nothing leaves what was there; anything else replaces it."""
    if isinstance(old, str) and isinstance(new, str):
        return _joined(old, new)
    if isinstance(old, list) and isinstance(new, list):
        return [*old, *new]
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _continued(old.get(key), value) for key, value in new.items()}}
    return old if new is None else new


def _joined(old: str, new: str) -> str:
    """Two pieces of text as one; a character whose surrogate halves came in two events (see `chat.parse_json`) is whole again."""
    if "\ud800" <= old[-1:] <= "\udbff" and "\udc00" <= new[:1] <= "\udfff":
        whole = (old[-1] + new[0]).encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        return old[:-1] + whole + new[1:]
    return old + new


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    """Tool calls lose the index that only streams have."""
    for call in choice["message"].get("tool_calls", ()):
        call.pop("index", None)
    return choice


def _messages_of(body: dict[str, Any]) -> list[Message]:
    """The choices' messages; an empty one for a choice without."""
    messages = [choice.get("message") for choice in _list_of_objects(body.get("choices"))]
    return [message if isinstance(message, dict) else {} for message in messages]


def _part_text(part: object) -> str:
    if isinstance(part, str):
        return part
    text = part.get("text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else ""


def _list_of_objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = parse_json(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

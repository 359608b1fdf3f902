"""A Responses request as a chat request: instructions and input items become messages, the rest goes under chat's names.

Parameters that neither API knows pass as they came, as in chat: they are the upstream's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from stillhouse.chat import Message
from stillhouse.errors import InvalidParameterError

Body = Mapping[str, Any]

RENAMED = {"max_output_tokens": "max_completion_tokens"}
OURS = frozenset({
    *("input", "instructions", "text", "tools", "tool_choice", "reasoning", "include", "stream_options", "previous_response_id"),
    *("background", "conversation", "prompt", "truncation", "max_tool_calls"),
})  # fmt: skip
"""Translated below, or refused: these never reach a chat request under their own name."""
REFUSED = {
    "background": "runs in the background are jobs here: use batches",
    "conversation": "send the items, or previous_response_id",
    "prompt": "prompt templates are not kept here: send the text as instructions and input",
    "max_tool_calls": "only functions are called, and the client calls them",
}
LOGPROBS = "message.output_text.logprobs"
IGNORED_INCLUDES = frozenset({"reasoning.encrypted_content"})


def chat_request(body: Body, history: Sequence[Message] = ()) -> dict[str, Any]:
    """The body of the chat request: `history` (of the response before) stands between instructions and input.

    Raises InvalidParameterError.
    """
    for name, advice in REFUSED.items():
        if body.get(name):
            raise InvalidParameterError(f"'{name}' is not supported; {advice}.", name)
    if body.get("truncation") not in (None, "disabled"):
        raise InvalidParameterError(
            "'truncation' must be 'disabled': nothing of a conversation is dropped silently.", "truncation"
        )
    instructions = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
    asked = {RENAMED.get(name, name): value for name, value in body.items() if name not in OURS and value is not None}
    asked.pop("store", None)
    return {**asked, "messages": [*instructions, *history, *messages_of(input_items(body))], **_translated(body)}


def input_items(body: Body) -> list[dict[str, Any]]:
    """The input as items; a string is one message of the user. Raises InvalidParameterError."""
    given = body.get("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise InvalidParameterError(f"'input' must be a string or an array of items, got {type(given).__name__}.", "input")
    return [{"type": "message", **item} for item in given]


def messages_of(items: Iterable[Body]) -> list[Message]:
    """Items as messages; calls of functions that follow one another, or the text before them, are one message.

    Raises InvalidParameterError, which names the item.
    """
    messages: list[Message] = []
    for index, item in enumerate(items):
        make = ITEMS.get(str(item.get("type")))
        if make is None:
            known = ", ".join(sorted(ITEMS))
            raise InvalidParameterError(
                f"Items of type '{item.get('type')}' are not supported. There are: {known}.", f"input.{index}"
            )
        message = make(item, f"input.{index}")
        joins = message is not None and "tool_calls" in message and messages and messages[-1]["role"] == "assistant"
        if message is not None and joins:
            messages[-1] = {**messages[-1], "tool_calls": [*messages[-1].get("tool_calls", ()), *message["tool_calls"]]}
        elif message is not None:
            messages.append(message)
    return messages


def skeleton(body: Body, *, id: str, created: int) -> dict[str, Any]:
    """The response object before anything was said: what was asked, echoed as the API does."""
    text = body.get("text") if isinstance(body.get("text"), dict) else {}
    return {
        "id": id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": body.get("model"),
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None, **(body.get("reasoning") or {})},
        "store": body.get("store") is not False,
        "temperature": body.get("temperature"),
        "text": {"format": {"type": "text"}, **(text or {})},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": [_shown_tool(tool) for tool in body.get("tools") or []],
        "top_p": body.get("top_p"),
        "truncation": "disabled",
        "usage": None,
        **{name: body[name] for name in ("user", "safety_identifier", "prompt_cache_key", "service_tier") if body.get(name)},
    }


def _translated(body: Body) -> dict[str, Any]:
    """What stands elsewhere, or in another shape, in a chat request."""
    asked: dict[str, Any] = {}
    text, reasoning = _object(body, "text"), _object(body, "reasoning")
    if (form := text.get("format")) and form.get("type") != "text":
        asked["response_format"] = _format(form)
    if text.get("verbosity"):
        asked["verbosity"] = text["verbosity"]
    if reasoning.get("effort"):
        asked["reasoning_effort"] = reasoning["effort"]
    if body.get("tools"):
        asked["tools"] = [_tool(tool, f"tools.{index}") for index, tool in enumerate(body["tools"])]
    if body.get("tool_choice") is not None:
        asked["tool_choice"] = _tool_choice(body["tool_choice"])
    for index, wanted in enumerate(body.get("include") or ()):
        if wanted != LOGPROBS and wanted not in IGNORED_INCLUDES:
            raise InvalidParameterError(f"'{wanted}' cannot be included. There is: {LOGPROBS}.", f"include.{index}")
        asked.update({"logprobs": True} if wanted == LOGPROBS else {})
    if body.get("stream") is True:
        asked["stream_options"] = {"include_usage": True}
    return asked


def _object(body: Body, name: str) -> Body:
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise InvalidParameterError(f"'{name}' must be an object, got {type(value).__name__}.", name)
    return value or {}


def _format(form: Body) -> dict[str, Any]:
    if form.get("type") != "json_schema":
        return dict(form)
    return {"type": "json_schema", "json_schema": {name: value for name, value in form.items() if name != "type"}}


def _tool(tool: Any, where: str) -> dict[str, Any]:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind not in ("function", "custom"):
        raise InvalidParameterError(f"Tools of type '{kind}' run at the vendor. Here are: function, custom.", where)
    inner = {name: value for name, value in tool.items() if name != "type" and value is not None}
    return {"type": kind, kind: inner}


def _shown_tool(tool: Any) -> Any:
    """As the API shows a function: with its schema and strictness, whatever was left out."""
    return {"parameters": None, "strict": None, **tool} if isinstance(tool, dict) and tool.get("type") == "function" else tool


def _tool_choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return choice
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind in ("function", "custom"):
        return {"type": kind, kind: {"name": choice.get("name")}}
    if kind == "allowed_tools":
        named = [_named_tool(tool) for tool in choice.get("tools") or ()]
        return {"type": kind, kind: {"mode": choice.get("mode"), "tools": named}}
    raise InvalidParameterError(f"'tool_choice' of type '{kind}' is not supported.", "tool_choice")


def _named_tool(tool: Body) -> dict[str, Any]:
    kind = str(tool.get("type"))
    return {"type": kind, kind: {"name": tool.get("name")}}


def _message(item: Body, where: str) -> Message:
    role, content = item.get("role"), item.get("content")
    if role not in ("user", "assistant", "system", "developer"):
        raise InvalidParameterError(f"'role' must be user, assistant, system or developer, got {role!r}.", f"{where}.role")
    if isinstance(content, str):
        return {"role": role, "content": content}
    if not isinstance(content, list):
        raise InvalidParameterError("'content' must be a string or an array of parts.", f"{where}.content")
    parts = [_part(part, f"{where}.content.{index}") for index, part in enumerate(content)]
    if all(part["type"] == "text" for part in parts) and (len(parts) == 1 or role == "assistant"):
        return {"role": role, "content": "\n".join(part["text"] for part in parts)}
    return {"role": role, "content": parts}


def _part(part: Any, where: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("input_text", "output_text", "text"):
        return {"type": "text", "text": str(part.get("text") or "")}
    if kind == "refusal":
        return {"type": "refusal", "refusal": str(part.get("refusal") or "")}
    if kind == "input_image" and part.get("image_url"):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part.get("input_audio")}
    if kind == "input_file" and part.get("file_data"):
        return {"type": "file", "file": {name: part[name] for name in ("filename", "file_data") if part.get(name)}}
    raise InvalidParameterError(
        f"A content part of type '{kind}' cannot be sent as it is. There are: input_text, output_text, refusal, input_audio, "
        "input_image with image_url, input_file with file_data.",
        where,
    )


def _function_call(item: Body, where: str) -> Message:
    function = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
    return _call(item, {"type": "function", "function": function})


def _custom_call(item: Body, where: str) -> Message:
    return _call(item, {"type": "custom", "custom": {"name": item.get("name"), "input": item.get("input") or ""}})


def _call(item: Body, call: dict[str, Any]) -> Message:
    return {"role": "assistant", "content": None, "tool_calls": [{"id": item.get("call_id"), **call}]}


def _call_output(item: Body, where: str) -> Message:
    output = item.get("output")
    if isinstance(output, list):
        output = [_part(part, f"{where}.output.{index}") for index, part in enumerate(output)]
    return {"role": "tool", "tool_call_id": item.get("call_id"), "content": output if output is not None else ""}


def _nothing(item: Body, where: str) -> None:
    """Reasoning that comes back from an earlier answer: chat has no place for it, and models leave it out of what they read."""


ITEMS: dict[str, Callable[[Body, str], Message | None]] = {
    "message": _message,
    "function_call": _function_call,
    "function_call_output": _call_output,
    "custom_tool_call": _custom_call,
    "custom_tool_call_output": _call_output,
    "reasoning": _nothing,
}

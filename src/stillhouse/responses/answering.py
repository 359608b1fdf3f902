"""A chat completion as a response: its message becomes output items, its finish reason the response's status.

Ids of items are made of the response's own, so that the same answer read twice has the same ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Body = Mapping[str, Any]

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Finish reason -> why a response is not complete."""


def answered(skeleton: Body, completion: Body) -> dict[str, Any]:
    """The response when its completion is whole: the first choice, which is the only one that this API has."""
    choices = completion.get("choices") or [{}]
    choice = choices[0] if isinstance(choices[0], dict) else {}
    reason = INCOMPLETE.get(str(choice.get("finish_reason")))
    status = "incomplete" if reason else "completed"
    return {
        **skeleton,
        "model": completion.get("model") or skeleton["model"],
        "status": status,
        "completed_at": None if reason else completion.get("created"),
        "incomplete_details": {"reason": reason} if reason else None,
        "output": output_items(str(skeleton["id"]), choice, status),
        "usage": usage_of(completion),
    }


def failed(skeleton: Body, message: str) -> dict[str, Any]:
    """The response when no answer came, or not all of it."""
    return {**skeleton, "status": "failed", "error": {"code": "server_error", "message": message}}


def item_id(kind: str, response_id: str, index: int = 0) -> str:
    """The id of an output item: `msg_`, `rs_`, `fc_` or `ctc_`, the response's own part, and a number where there are several."""
    return f"{kind}_{response_id.removeprefix('resp_')}" + (f"_{index}" if index else "")


def output_items(response_id: str, choice: Body, status: str) -> list[dict[str, Any]]:
    """Reasoning, then the message, then the calls; what is not there is left out."""
    message = choice.get("message") or {}
    items = []
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(reasoning, str) and reasoning:
        items.append(reasoning_item(response_id, reasoning))
    content = content_parts(message, choice.get("logprobs"))
    calls = [call_item(response_id, index, call, status) for index, call in enumerate(message.get("tool_calls") or ())]
    if content or not calls:
        content = content or [text_part("")]
        items.append(
            {"id": item_id("msg", response_id), "type": "message", "role": "assistant", "status": status, "content": content}
        )
    return [*items, *calls]


def content_parts(message: Body, logprobs: Any) -> list[dict[str, Any]]:
    parts = []
    if isinstance(message.get("content"), str) and message["content"]:
        parts.append(text_part(message["content"], _logprobs(logprobs)))
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        parts.append({"type": "refusal", "refusal": message["refusal"]})
    return parts


def text_part(text: str, logprobs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs or []}


def reasoning_item(response_id: str, text: str) -> dict[str, Any]:
    content = [{"type": "reasoning_text", "text": text}] if text else []
    return {"id": item_id("rs", response_id), "type": "reasoning", "summary": [], "content": content}


def call_item(response_id: str, index: int, call: Body, status: str) -> dict[str, Any]:
    """A call of a function, or of a custom tool."""
    if call.get("type") == "custom":
        custom = call.get("custom") or {}
        said = {"type": "custom_tool_call", "name": custom.get("name") or "", "input": custom.get("input") or ""}
        return {"id": item_id("ctc", response_id, index), "call_id": call.get("id") or "", **said}
    function = call.get("function") or {}
    said = {"type": "function_call", "name": function.get("name") or "", "arguments": function.get("arguments") or ""}
    return {"id": item_id("fc", response_id, index), "call_id": call.get("id") or "", "status": status, **said}


def usage_of(completion: Body) -> dict[str, Any] | None:
    """Tokens as this API counts them; None where the model reported none."""
    usage = completion.get("usage")
    if not isinstance(usage, dict) or not isinstance(usage.get("prompt_tokens"), int):
        return None
    read, said = usage["prompt_tokens"], usage.get("completion_tokens") or 0
    of_prompt, of_answer = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": of_prompt.get("cached_tokens") or 0, "cache_write_tokens": 0},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": of_answer.get("reasoning_tokens") or 0},
        "total_tokens": usage.get("total_tokens") or read + said,
    }


def _logprobs(logprobs: Any) -> list[dict[str, Any]]:
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    return [_token(token, [_token(other) for other in token.get("top_logprobs") or ()]) for token in tokens or ()]


def _token(token: Body, top: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    said = {"token": token.get("token"), "bytes": token.get("bytes") or [], "logprob": token.get("logprob")}
    return said if top is None else {**said, "top_logprobs": top}

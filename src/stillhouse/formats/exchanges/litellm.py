"""LiteLLM's spend logs, exported from its database or its page: requests with `messages` and `response`.

The proxy keeps both only where `store_prompts_in_spend_logs` is on; without it an entry has nothing to learn from, and says so.
"""

from __future__ import annotations

from typing import Any

from stillhouse.formats.exchanges.entries import chat_of, completion_of, seconds_of, strings_of

ASKED = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "tools", "tool_choice", "response_format", "stop", "seed")


def row_of(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry as `{request, response}`. Raises ValueError."""
    if entry.get("status") not in (None, "success"):
        raise ValueError(f"the request failed: its status is {str(entry['status'])[:40]!r}")
    request = entry.get("proxy_server_request") or entry.get("request_body")
    request = request if isinstance(request, dict) else {}
    messages = entry.get("messages") or request.get("messages")
    if not messages:
        raise ValueError("its prompt was not kept (general_settings: store_prompts_in_spend_logs was off)")
    model = str(entry.get("model") or request.get("model") or "unknown").rpartition("/")[2]
    asked = {name: request[name] for name in ASKED if request.get(name) is not None}
    tags = entry.get("request_tags")
    return {
        "created": seconds_of(entry.get("startTime")),
        "model": model,
        "upstream": entry.get("custom_llm_provider"),
        "upstream_id": entry.get("request_id"),
        "metadata": strings_of({name: entry.get(name) for name in ("end_user", "session_id", "team_id")}),
        "tags": tags if isinstance(tags, list) else [],
        "request": {"model": model, "messages": chat_of(messages, "messages"), **asked},
        "response": completion_of(entry.get("response"), model, "response"),
    }

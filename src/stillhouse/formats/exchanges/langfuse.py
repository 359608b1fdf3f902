"""Langfuse's exports of observations (JSON or JSON lines, from its page, API or blob storage): generations become exchanges.

Spans and events are no calls of a model, and are put aside with that reason.
"""

from __future__ import annotations

from typing import Any

from stillhouse.formats.exchanges.entries import chat_of, completion_of, seconds_of, strings_of


def row_of(entry: dict[str, Any]) -> dict[str, Any]:
    """An observation as `{request, response}`. Raises ValueError."""
    kind = entry.get("type")
    if kind not in (None, "GENERATION", "generation"):
        raise ValueError(f"an observation of type {str(kind)[:40]!r} is no call of a model")
    if entry.get("level") == "ERROR":
        raise ValueError("the call failed: its level is 'ERROR'")
    model = _first(entry, "model", "providedModelName", "provided_model_name") or "unknown"
    parameters = _first(entry, "modelParameters", "model_parameters")
    asked = {name: value for name, value in parameters.items() if value is not None} if isinstance(parameters, dict) else {}
    tags = entry.get("tags") or (entry.get("trace") or {}).get("tags")
    given = entry.get("input")
    if isinstance(given, dict) and isinstance(given.get("tools"), list):
        asked["tools"] = given["tools"]
    response = completion_of(entry.get("output"), str(model), "output")
    counted = _usage(entry)
    return {
        "created": seconds_of(_first(entry, "startTime", "start_time")),
        "model": model,
        "upstream_id": entry.get("id"),
        "metadata": strings_of({**_pairs(entry.get("metadata")), "trace": _first(entry, "traceId", "trace_id")}),
        "tags": tags if isinstance(tags, list) else [],
        "request": {"model": model, **asked, "messages": chat_of(given, "input")},
        "response": {**response, **({"usage": counted} if counted and "usage" not in response else {})},
    }


def _usage(entry: dict[str, Any]) -> dict[str, int] | None:
    usage = _first(entry, "usageDetails", "usage_details", "usage")
    if not isinstance(usage, dict):
        return None
    read, said = usage.get("input", usage.get("promptTokens")), usage.get("output", usage.get("completionTokens"))
    return {"prompt_tokens": read, "completion_tokens": said} if isinstance(read, int) and isinstance(said, int) else None


def _first(entry: dict[str, Any], *names: str) -> Any:
    return next((entry[name] for name in names if entry.get(name) is not None), None)


def _pairs(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

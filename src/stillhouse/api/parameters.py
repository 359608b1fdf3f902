"""The parameters that are ours to check: those that decide where a request goes and what is kept of it.

Everything else in a request is the upstream's business and passes unread.
"""

from __future__ import annotations

from typing import Any, Literal

import orjson

from stillhouse.api.errors import InvalidParameterError
from stillhouse.chat import ChatRequest
from stillhouse.completion import CompletionQuery
from stillhouse.errors import UsageError

MAX_PAIRS, MAX_KEY, MAX_VALUE = 16, 64, 512
MAX_CHOICES = 128
MAX_PAGE = 100


def check_request(request: ChatRequest) -> None:
    """Raises UsageError (InvalidParameterError) in the words of OpenAI's API."""
    body = request.body
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise InvalidParameterError("You must provide a model parameter, a string.", "model")
    if not isinstance(body.get("messages"), list):
        raise InvalidParameterError("You must provide a messages parameter, an array.", "messages")
    for name in ("store", "stream"):
        if not isinstance(body.get(name), bool | None):
            raise InvalidParameterError(f"'{name}' must be true or false, got {_shown(body[name])}.", name)
    n = body.get("n")
    if n is not None and (not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= MAX_CHOICES):
        raise InvalidParameterError(f"'n' must be an integer from 1 to {MAX_CHOICES}, got {_shown(n)}.", "n")
    check_metadata(body.get("metadata"))


def check_metadata(metadata: Any) -> dict[str, str]:
    """The metadata, {} for null. Raises InvalidParameterError."""
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise InvalidParameterError(f"'metadata' must be an object, got {_shown(metadata)}.", "metadata")
    if len(metadata) > MAX_PAIRS:
        raise InvalidParameterError(f"'metadata' may have at most {MAX_PAIRS} pairs, got {len(metadata)}.", "metadata")
    for key, value in metadata.items():
        if len(key) > MAX_KEY:
            raise InvalidParameterError(f"'metadata' keys may have at most {MAX_KEY} characters: {_shown(key)}.", "metadata")
        if not isinstance(value, str):
            raise InvalidParameterError(f"'metadata.{key}' must be a string, got {_shown(value)}.", f"metadata.{key}")
        if len(value) > MAX_VALUE:
            raise InvalidParameterError(f"'metadata.{key}' may have at most {MAX_VALUE} characters.", f"metadata.{key}")
    return metadata


def list_query(query: dict[str, str]) -> CompletionQuery:
    """The filters of a list: `metadata[key]=value`, model, after, limit, order. Raises InvalidParameterError."""
    limit, order = page_of(query)
    metadata = {name[9:-1]: value for name, value in query.items() if name.startswith("metadata[") and name.endswith("]")}
    return CompletionQuery(model=query.get("model"), metadata=metadata, after=query.get("after"), limit=limit, order=order)


def page_of(query: dict[str, str]) -> tuple[int, Literal["asc", "desc"]]:
    """Limit and order. Raises InvalidParameterError."""
    limit, order = query.get("limit", "20"), query.get("order", "asc")
    if not limit.isdecimal() or not 1 <= int(limit) <= MAX_PAGE:
        raise InvalidParameterError(f"'limit' must be an integer from 1 to {MAX_PAGE}, got '{limit[:40]}'.", "limit")
    if order not in ("asc", "desc"):
        raise InvalidParameterError(f"'order' must be 'asc' or 'desc', got '{order[:40]}'.", "order")
    return int(limit), "desc" if order == "desc" else "asc"


def json_object(raw: bytes) -> dict[str, Any]:
    """A body that must be a JSON object. Raises UsageError."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise UsageError(f"The request body is not valid JSON: {exc}.") from exc
    if not isinstance(body, dict):
        raise UsageError(f"The request body must be a JSON object, got {type(body).__name__}.")
    return body


def _shown(value: object) -> str:
    return repr(value)[:80]

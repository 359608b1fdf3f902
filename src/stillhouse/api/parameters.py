"""The parameters that are ours to check: those that decide where a request goes and what is kept of it.

Everything else in a request is the upstream's business and passes unread.
"""

from __future__ import annotations

from typing import Any

from stillhouse.api.pages import PageQuery
from stillhouse.chat import ChatRequest
from stillhouse.completion import CompletionQuery
from stillhouse.errors import InvalidParameterError

MAX_PAIRS, MAX_KEY, MAX_VALUE = 16, 64, 512
MAX_CHOICES = 128


def check_request(request: ChatRequest) -> None:
    """Raises UsageError (InvalidParameterError) in the words of OpenAI's API."""
    body = request.body
    check_common(body)
    if not isinstance(body.get("messages"), list):
        raise InvalidParameterError("You must provide a messages parameter, an array.", "messages")
    n = body.get("n")
    if n is not None and (not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= MAX_CHOICES):
        raise InvalidParameterError(f"'n' must be an integer from 1 to {MAX_CHOICES}, got {_shown(n)}.", "n")


def check_common(body: dict[str, Any]) -> None:
    """What every request to a model has: which one, whether it is kept and streamed, metadata. Raises InvalidParameterError."""
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise InvalidParameterError("You must provide a model parameter, a string.", "model")
    for name in ("store", "stream"):
        if not isinstance(body.get(name), bool | None):
            raise InvalidParameterError(f"'{name}' must be true or false, got {_shown(body[name])}.", name)
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
    page = PageQuery(query)
    filters = {"model": query.get("model"), "metadata": page.metadata}
    return CompletionQuery.model_validate({**filters, "after": page.after, "limit": page.limit, "order": page.order})


def _shown(value: object) -> str:
    return repr(value)[:80]

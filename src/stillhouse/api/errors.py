"""Every error as OpenAI's envelope, `{"error": {"message", "type", "param", "code"}}`, which its SDK turns into its exceptions.

What an upstream said is passed on as it said it. Messages never hold a header, a key or a body.
"""

from __future__ import annotations

import math
from typing import Any

from stillhouse.api.asgi import Reply, json_bytes
from stillhouse.errors import (
    CaptureLostError,
    InvalidParameterError,
    OverloadedError,
    StillhouseError,
    StoreError,
    UpstreamError,
)

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
PERMANENT = {409, 501}
"""Statuses that the SDK would ask again after, though the same answer would come."""


def envelope(message: str, status: int, code: str | None, param: str | None = None) -> dict[str, Any]:
    """The body of an error."""
    kind = TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_reply(exc: StillhouseError) -> Reply:
    """The response to an error of ours, or the upstream's own."""
    if isinstance(exc, UpstreamError) and exc.status is not None:
        headers = {**exc.headers, **_retry_headers(exc)}
        return Reply(exc.status, exc.body, headers)
    return Reply(exc.http_status, json_bytes(error_body(exc)), _retry_headers(exc))


def error_body(exc: StillhouseError) -> dict[str, Any]:
    """The envelope for an error of ours."""
    return envelope(str(exc), exc.http_status, exc.code, exc.param if isinstance(exc, InvalidParameterError) else None)


def error_event(exc: StillhouseError) -> bytes:
    """The server-sent event that ends a stream which broke; no `[DONE]` follows it. The SDK raises APIError on it."""
    return b"data: " + json_bytes(error_body(exc)) + b"\n\n"


def _retry_headers(exc: StillhouseError) -> dict[str, str]:
    if isinstance(exc, OverloadedError):
        return {"retry-after": str(max(1, math.ceil(exc.retry_after)))}
    if isinstance(exc, CaptureLostError) or (isinstance(exc, UpstreamError) and exc.attempts > 1):
        return {"x-should-retry": "false"}  # we have asked again already, or the answer was paid for
    if isinstance(exc, StoreError):
        return {"retry-after": "1"}
    return {"x-should-retry": "false"} if exc.http_status in PERMANENT else {}

"""What kind of failure an error is: so that a thousand of them are a handful of lines, each with its own remedy."""

from __future__ import annotations

from typing import Literal

from stillhouse.errors import OverloadedError, StillhouseError, StreamBrokenError, UpstreamError, UpstreamTimeoutError

Kind = Literal["throttled", "timeout", "connection", "broken", "server", "quota", "key", "refused"]
"""throttled   too many requests: 429, or a full queue of a model on this machine
timeout     it did not answer in time
connection  it could not be reached, or hung up before it answered
broken      its answer began and did not end as it should
server      5xx
quota       429, and no waiting helps: the account has no credit left
key         401: the key is wrong
refused     any other answer that is not a success: 400, 403, 404, 422, ..."""

ENDS_EVERYTHING: frozenset[Kind] = frozenset({"key", "quota"})
"""The other requests would fare no better."""


def kind_of(error: StillhouseError) -> Kind:
    """The kind of an UpstreamError or OverloadedError."""
    if isinstance(error, OverloadedError):
        return "throttled"
    if isinstance(error, UpstreamTimeoutError):
        return "timeout"
    if isinstance(error, StreamBrokenError):
        return "broken"
    status = error.status if isinstance(error, UpstreamError) else None
    return "connection" if status is None else _of_status(status, error)


def is_load(kind: Kind) -> bool:
    """Whether fewer requests at a time may help."""
    return kind in ("throttled", "timeout", "connection", "broken", "server")


def is_unbilled(kind: Kind) -> bool:
    """Whether the other side said no before it did any work, so that the attempt used no token."""
    return kind in ("throttled", "quota", "key", "refused")


def _of_status(status: int, error: StillhouseError) -> Kind:
    if status == 429:
        return "quota" if b"insufficient_quota" in getattr(error, "body", b"") else "throttled"
    if status == 401:
        return "key"
    return "server" if status >= 500 else "refused"

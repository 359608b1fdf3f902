"""One captured exchange: what was asked, of whom, what came back and how it ended.

The bytes themselves (request and response) are kept beside it, compressed and off the hot table; this record is what lists,
filters and statistics need.
"""

from __future__ import annotations

from typing import Literal, get_args

from stillhouse.records import Record

State = Literal["started", "complete", "truncated", "malformed", "interrupted", "failed"]
"""How the exchange stands.

started      the request is kept, the answer is not there yet
complete     the upstream ended it properly: the only state that datasets and Stored Completions show by default
truncated    the answer broke off before its finish reason and end marker
malformed    an event or the body was not what the API says; the bytes are kept as they came
interrupted  this server died meanwhile
failed       the upstream refused, or a timeout passed
"""
STATES: tuple[State, ...] = get_args(State)


class Completion(Record):
    id: str
    """Ours, `chatcmpl-` and a UUIDv7: sorts by creation."""
    created: int
    """Seconds since the epoch, UTC, by this machine's clock; for people, never for order."""
    state: State
    instance: str
    """Which life of which server wrote it, or which batch's run: after a crash, its `started` rows become `interrupted`."""
    requested_model: str
    """What the client asked for, an alias perhaps."""
    model: str
    """What the upstream was asked for."""
    upstream: str
    """Name of the upstream, or of the student's artifact."""
    upstream_id: str | None = None
    """The id the upstream gave its answer."""
    stream: bool = False
    status: int | None = None
    """HTTP status of the upstream's answer."""
    finish_reason: str | None = None
    """Of the first choice."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_byte_ms: float | None = None
    total_ms: float | None = None
    client_gone: bool = False
    """The client left before the end; the answer was finished and kept all the same."""
    error: str | None = None
    may_train: str = "yes"
    """`yes`, or `no: ` and the reason, copied from the upstream when captured."""
    prompt_hash: str | None = None
    """Hash of the normalised prompt: what splits are made by."""
    response_sha256: str | None = None
    """Of the response bytes as the client got them (ours, with our id)."""
    metadata: dict[str, str] = {}
    tags: tuple[str, ...] = ()


class CompletionQuery(Record):
    """Filters of a list; all that are set must hold. Lists never read payloads."""

    model: str | None = None
    """As requested or as asked of the upstream."""
    metadata: dict[str, str] = {}
    states: tuple[State, ...] = ("complete",)
    created_after: int | None = None
    created_before: int | None = None
    finish_reason: str | None = None
    tag: str | None = None
    text: str | None = None
    """Full text over prompt and answer; Chinese too."""
    after: str | None = None
    """Id of the last item of the page before."""
    limit: int = 20
    order: Literal["asc", "desc"] = "asc"

"""A webhook endpoint: who wants to hear of which events, and how a delivery is signed so that it can be believed.

Signatures are those of Standard Webhooks (standardwebhooks.com), which the official SDK's `webhooks.unwrap` checks.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from stillhouse.records import Record
from stillhouse.run import Run

EVENT_TYPES = (
    *("batch.completed", "batch.failed", "batch.expired", "batch.cancelled"),
    *("eval.run.succeeded", "eval.run.failed", "eval.run.canceled"),
    *("fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"),
)
"""Those of OpenAI's that can happen here."""
_OF_OBJECTS = {
    "ftjob": ("fine_tuning.job", {}),
    "evalrun": ("eval.run", {"cancelled": "canceled"}),
    "batch": ("batch", {"succeeded": "completed"}),
}
"""What a run works for, by its id -> the event's first part, and the endings that are called otherwise."""
PREFIX = "whsec_"


class WebhookEndpoint(Record):
    id: str
    name: str = Field(min_length=1, max_length=256)
    url: str = Field(max_length=2048)
    event_types: tuple[str, ...] = Field(min_length=1)
    created_at: int
    updated_at: int
    secrets: tuple[str, ...]
    """Newest first; a delivery is signed with each, so that a rotated one may be honoured for a day longer."""
    old_until: int | None = None
    """When all but the newest stop being used."""

    @field_validator("url")
    @classmethod
    def _plain_http(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError(
                "it must begin with https:// (or http:// for hosts that the server's settings allow), without a user"
            )
        return url

    @field_validator("event_types")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(names) - set(EVENT_TYPES))
        if unknown:
            raise ValueError(f"no event is called {', '.join(unknown)}; there are: {', '.join(EVENT_TYPES)}")
        return tuple(dict.fromkeys(names))

    def in_use(self, now: int) -> tuple[str, ...]:
        """The secrets that count at `now` (seconds since the epoch)."""
        return self.secrets if self.old_until is not None and now < self.old_until else self.secrets[:1]


class Event(Record):
    """Something that happened, as it is sent."""

    id: str
    """The same however often it is told, so that a receiver can tell a repetition."""
    type: str
    created_at: int
    data: dict[str, str]
    """`{"id": ...}` of the API's object."""
    object: str = "event"


def event_of(run: Run) -> Event | None:
    """The event of a run's end; None where the API has none for it."""
    subject = run.ref or run.id
    known = _OF_OBJECTS.get(subject.partition("-")[0].partition("_")[0])
    if known is None:
        return None
    family, names = known
    ending = str(run.result.get("status") or run.state) if family == "batch" else str(run.state)
    kind = f"{family}.{names.get(ending, ending)}"
    if kind not in EVENT_TYPES:
        return None
    return Event(id=f"evt_{run.id}_{run.epoch}", type=kind, created_at=run.finished or run.created, data={"id": subject})


def new_secret() -> str:
    """A signing secret: 32 random bytes, as Standard Webhooks writes them."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 of `id.timestamp.body`, base64."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def signed_headers(secrets_in_use: tuple[str, ...], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a delivery; several secrets, several signatures."""
    signatures = " ".join(signature(secret, message_id, timestamp, body) for secret in secrets_in_use)
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": signatures}

"""A named place that answers chat requests over HTTP: any server that speaks OpenAI's API."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from stillhouse.records import Record

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
"""Names people give to things. They are never used as paths."""


class Timeouts(Record):
    """Seconds."""

    connect: float = 5.0
    first_byte: float = 600.0
    idle: float = 120.0
    """Between two chunks of a stream."""


class Upstream(Record):
    name: str = Field(pattern=NAME_PATTERN)
    base_url: str
    """With the version, as the SDK takes it: `https://api.openai.com/v1`."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key. The key itself is never stored."""
    models: tuple[str, ...] = ()
    """Model ids it answers for; empty: any id that no other upstream or route claims."""
    may_train: str = "yes"
    """`yes`, or `no: ` and the reason from its terms of service."""
    tokenizer: str | None = None
    """Folder of the tokenizer of its models, where log-probabilities that come with its answers are to be learned from: they are
    of token strings, and only its tokenizer can say which ids those are."""
    timeouts: Timeouts = Timeouts()
    max_retries: int = 0
    """How often the gateway asks again after 429 or 5xx, before the first byte reached the client."""
    created: int = 0

    @field_validator("base_url")
    @classmethod
    def _plain_http(cls, url: str) -> str:
        """Nothing but http(s), a host and a path: credentials in a URL would be kept, and shown."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it must begin with http:// or https:// and name a host")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ValueError("it may hold no user, password, query or fragment; keys go into the environment: --api-key-env VAR")
        return url.rstrip("/")

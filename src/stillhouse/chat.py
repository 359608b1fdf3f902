"""The one shape of Stillhouse: something that answers a chat request.

`ChatRequest`, `ChatResponse` and `Chunk` carry the raw bytes and are parsed lazily: the gateway passes on what it received,
capture reads beside it. Nothing here does I/O; bytes become events in `sse.py`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import orjson

from stillhouse.errors import UsageError
from stillhouse.splice import replace_value

Message = dict[str, Any]
"""One chat message as the OpenAI API writes it: role, content (a string or a list of parts), tool_calls, ..."""

DONE = b"[DONE]"


def parse_json(raw: bytes) -> Any:
    """The JSON value. Raises ValueError.

    Half a surrogate pair (`"\\ud83d"`: programs that cut strings by UTF-16 units write such, between two events of a stream for
    one) is JSON, though no Unicode: the string then holds it as a lone surrogate.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        if b"\\ud" not in raw.lower():
            raise
    try:
        return json.loads(raw, parse_constant=_no_number)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class ChatRequest:
    """A request for a chat completion: the body's bytes, and the headers worth passing on (never credentials)."""

    def __init__(self, raw: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.raw = raw
        self.headers = dict(headers or {})

    @classmethod
    def build(cls, model: str, messages: Sequence[Message], **parameters: Any) -> ChatRequest:
        """A request made here, not received: parameters are the API's own (temperature, max_completion_tokens, ...)."""
        return cls(orjson.dumps({"model": model, "messages": list(messages), **parameters}))

    @cached_property
    def body(self) -> dict[str, Any]:
        """The parsed body. Raises UsageError when it is not a JSON object."""
        try:
            body = parse_json(self.raw)
        except ValueError as exc:
            raise UsageError(f"The request body is not valid JSON: {exc}.") from exc
        if not isinstance(body, dict):
            raise UsageError(f"The request body must be a JSON object, got {type(body).__name__}.")
        return body

    @property
    def model(self) -> str:
        """The model asked for; '' when absent or not a string."""
        model = self.body.get("model")
        return model if isinstance(model, str) else ""

    @property
    def messages(self) -> list[Message]:
        """The messages; empty when absent or not a list."""
        messages = self.body.get("messages")
        return messages if isinstance(messages, list) else []

    @property
    def stream(self) -> bool:
        """Whether the answer is asked for as server-sent events."""
        return self.body.get("stream") is True

    @property
    def store(self) -> bool:
        """Whether the client asked to keep the exchange (OpenAI's `store`; absent means no)."""
        return self.body.get("store") is True

    @property
    def metadata(self) -> dict[str, str]:
        """The client's metadata; empty when absent."""
        metadata = self.body.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def n(self) -> int:
        """How many choices are asked for."""
        n = self.body.get("n")
        return n if isinstance(n, int) and not isinstance(n, bool) else 1

    def with_model(self, model: str) -> ChatRequest:
        """The same request for another model; every other byte as it came."""
        return ChatRequest(replace_value(self.raw, "model", orjson.dumps(model)), self.headers)


class Usage:
    """Token counts as the model reported them; None where it did not."""

    __slots__ = ("completion_tokens", "prompt_tokens")

    def __init__(self, prompt_tokens: int | None = None, completion_tokens: int | None = None) -> None:
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Usage:
        """The `usage` of a response or chunk body."""
        usage = body.get("usage")
        if not isinstance(usage, dict):
            return cls()
        counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
        return cls(*(count if isinstance(count, int) else None for count in counts))


class ChatResponse:
    """A whole answer: the body's bytes, and the headers worth passing on. Always a success: failures are UpstreamError."""

    def __init__(self, raw: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.raw = raw
        self.headers = dict(headers or {})

    @classmethod
    def build(cls, body: dict[str, Any]) -> ChatResponse:
        """A response made here."""
        return cls(orjson.dumps(body))

    @cached_property
    def body(self) -> dict[str, Any]:
        """The parsed body; empty when it is not a JSON object."""
        try:
            body = parse_json(self.raw)
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}

    @property
    def id(self) -> str | None:
        identifier = self.body.get("id")
        return identifier if isinstance(identifier, str) else None

    @property
    def choices(self) -> list[dict[str, Any]]:
        choices = self.body.get("choices")
        return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []

    @property
    def text(self) -> str:
        """The first choice's content; '' when it has none."""
        for choice in self.choices[:1]:
            content = (choice.get("message") or {}).get("content")
            if isinstance(content, str):
                return content
        return ""

    @property
    def usage(self) -> Usage:
        return Usage.of(self.body)

    def with_id(self, identifier: str) -> ChatResponse:
        """The same response under another id; every other byte as it came."""
        return ChatResponse(replace_value(self.raw, "id", orjson.dumps(identifier)), self.headers)


class Chunk:
    """One server-sent event of a streamed answer, as its bytes came: field lines, comments and the blank line that ends it.

    `data` is what the event carries; None for a comment or an event that the stream's end cut off (`whole` is False then).
    """

    def __init__(self, raw: bytes, data: bytes | None, *, whole: bool = True) -> None:
        self.raw = raw
        self.data = data
        self.whole = whole

    @classmethod
    def build(cls, body: dict[str, Any]) -> Chunk:
        """An event made here."""
        data = orjson.dumps(body)
        return cls(b"data: " + data + b"\n\n", data)

    @classmethod
    def done(cls) -> Chunk:
        """The event that ends a stream."""
        return cls(b"data: " + DONE + b"\n\n", DONE)

    @property
    def is_done(self) -> bool:
        return self.data is not None and self.data.strip() == DONE

    @cached_property
    def body(self) -> dict[str, Any] | None:
        """The parsed event; None for comments, `[DONE]` and anything that is not a JSON object."""
        if self.data is None or self.is_done:
            return None
        try:
            body = parse_json(self.data)
        except ValueError:
            return None
        return body if isinstance(body, dict) else None

    @property
    def malformed(self) -> bool:
        """Whether it carries data that is neither `[DONE]` nor a JSON object whose choices are numbered."""
        if self.data is None or self.is_done:
            return False
        return self.body is None or any(type(_index(choice)) is not int for choice in self._choices)

    @property
    def finish_reasons(self) -> dict[int, str]:
        """Choice index -> finish reason, for the choices that end in this event."""
        ended: dict[int, str] = {}
        for choice in self._choices:
            index, reason = _index(choice), choice.get("finish_reason")
            if type(index) is int and isinstance(reason, str):
                ended[index] = reason
        return ended

    @property
    def _choices(self) -> list[dict[str, Any]]:
        choices = (self.body or {}).get("choices")
        return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []

    def with_id(self, identifier: str) -> Chunk:
        """The same event under another id; every other byte as it came. Events without a JSON body are returned as is."""
        if self.body is None or self.data is None or self.raw.count(self.data) != 1:
            return self
        data = replace_value(self.data, "id", orjson.dumps(identifier))
        return Chunk(self.raw.replace(self.data, data), data)


def _index(choice: dict[str, Any]) -> object:
    """As it was sent; 0 where it was left out, as some servers do with a single choice."""
    index = choice.get("index")
    return 0 if index is None else index


class ChatModel(Protocol):
    """Something that answers chat requests: a teacher, a student, a wrapper around either, a fake in a test.

    Both methods raise UpstreamError (and its kin) or OverloadedError instead of answering; `stream` may also raise it midway.
    """

    async def complete(self, request: ChatRequest) -> ChatResponse: ...

    def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]: ...

    async def close(self) -> None: ...


class Forwarder(Protocol):
    """What some upstreams answer besides chat (`/embeddings`, `/completions`): a body sent to a path, its answer as it came.

    Both methods raise as a ChatModel's do.
    """

    async def forward(self, path: str, request: ChatRequest) -> ChatResponse: ...

    def forward_stream(self, path: str, request: ChatRequest) -> AsyncIterator[Chunk]: ...

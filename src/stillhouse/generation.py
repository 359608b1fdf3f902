"""What a student is asked and what it says back: the words that the serving process and the child that runs the weights share.

A request's parameters are read and bounded here, before they can reach a model; nothing here knows a tokenizer or a process.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from pydantic import Field, ValidationError

from stillhouse.chat import ChatRequest, Message
from stillhouse.errors import UsageError
from stillhouse.records import Record

DEFAULT_MAX_TOKENS = 256
"""Tokens of an answer when the request does not say."""

REFUSED = ("tools", "functions", "audio", "prediction", "web_search_options", "logit_bias")
"""Fields that ask for what a student cannot give; present and not empty, they are an error rather than ignored."""


class Generation(Record):
    """One request for text, its parameters within bounds (OpenAI's meaning of each)."""

    messages: tuple[Message, ...] = Field(min_length=1)
    """`role` and `content` (a string) of each."""
    max_tokens: int = Field(default=DEFAULT_MAX_TOKENS, ge=1, le=10**6)
    temperature: float = Field(default=1.0, ge=0, le=2)
    """0: the most probable token at every step."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    n: int = Field(default=1, ge=1, le=8)
    stop: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = Field(default=(), max_length=16)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=20)
    stream: bool = False
    """Pieces as they come, or one piece a choice at its end."""


class Piece(NamedTuple):
    """What one choice of one request has newly said. Counts are totals so far."""

    ticket: int
    """The request, as the asker numbered it."""
    choice: int
    """Which of them, 0 to n - 1."""
    text: str
    prompt_tokens: int
    completion_tokens: int
    finish: str | None = None
    """`stop` or `length` on the choice's last piece."""
    logprobs: list[dict[str, Any]] | None = None
    """OpenAI's `logprobs.content` for the tokens since the last piece."""


def read_generation(request: ChatRequest) -> Generation:
    """The request's parameters. Raises UsageError naming the field, what was got and what is allowed."""
    body = {name: value for name, value in request.body.items() if value is not None}
    for name in REFUSED:
        if body.get(name):
            raise UsageError(f"'{name}' is not supported by a student. Leave it out.")
    _check_response_format(body.get("response_format"))
    fields = {name: body[name] for name in Generation.model_fields if name in body}
    fields["messages"] = [_plain(message) for message in request.messages]
    if "max_completion_tokens" in body:
        fields["max_tokens"] = body["max_completion_tokens"]
    if isinstance(body.get("stop"), str):
        fields["stop"] = (body["stop"],)
    try:
        return Generation.model_validate(fields)
    except ValidationError as exc:
        raise UsageError(_explain(exc)) from exc


def _plain(message: object) -> Message:
    """`role` and `content` as a string; text parts are joined. Raises UsageError for images, sound and files."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise UsageError("'messages' must be a list of objects with a 'role' and a 'content'.")
    return {"role": message["role"], "content": text_of(message)}


def text_of(message: Message) -> str:
    """The text of a message as a student reads it: its string, or its text parts joined. Raises UsageError for anything else."""
    content = message.get("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise UsageError(f"A message's 'content' must be a string or a list of parts, got {type(content).__name__}.")
    return "".join(_part_text(part) for part in content)


def _part_text(part: object) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    raise UsageError(f"A student reads text only; a message holds a part of type '{kind}'. Send parts of type 'text'.")


def _check_response_format(wanted: object) -> None:
    kind = wanted.get("type") if isinstance(wanted, dict) else wanted
    if kind not in (None, "text"):
        raise UsageError(f"'response_format' of type '{kind}' is not supported by a student. Leave it out or use type 'text'.")


def _explain(exc: ValidationError) -> str:
    """The first thing wrong: `temperature: Input should be less than or equal to 2, got 9.0.`"""
    first = exc.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    got = "" if where.startswith("messages") else f", got {str(first['input'])[:80]}"
    return f"{where}: {first['msg']}{got}."

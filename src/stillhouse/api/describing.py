"""What a handler takes, said where it stands: the OpenAPI document is made of it, and the handlers parse by the same models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from stillhouse.api.asgi import Call, Reply

H = TypeVar("H", bound=Callable[..., Awaitable[Reply | None]])

Schema = dict[str, Any]
BINARY: Schema = {"type": "string", "format": "binary"}


@dataclass(frozen=True)
class Takes:
    """A handler's input, and the status and type of its output."""

    body: type[BaseModel] | None = None
    required: bool = True
    """Whether the body may be left out."""
    form: Mapping[str, Schema] | None = None
    """Fields of a multipart form, instead of a JSON body."""
    query: Mapping[str, Schema] | None = None
    most: int | None = None
    """The largest `limit`, where the handler answers with a page."""
    status: int = 200
    answers: str = "application/json"


_TAKES: dict[Callable[..., Any], Takes] = {}


def takes(body: type[BaseModel] | None = None, **more: Any) -> Callable[[H], H]:
    """Mark a handler; the fields are those of `Takes`."""

    def mark(handler: H) -> H:
        _TAKES[handler] = Takes(body, **more)
        return handler

    return mark


def taken_by(handler: Callable[[Call], Awaitable[Reply | None]]) -> Takes:
    """What a handler was marked with; nothing where it was not."""
    return _TAKES.get(getattr(handler, "__func__", handler), Takes())


def one_of(*values: str) -> Schema:
    """The schema of a string with these values."""
    return {"type": "string", "enum": list(values)}

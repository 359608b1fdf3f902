"""The bodies that pass to a model as their bytes came, as far as they are ours to describe: where they go, what is kept of them.

Nothing is parsed by these: `parameters` checks the few fields that matter, and everything else is the upstream's business.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Passing(BaseModel):
    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1)
    stream: bool | None = None


class ChatBody(_Passing):
    messages: list[dict[str, Any]]
    store: bool | None = None
    metadata: dict[str, str] | None = None
    n: int | None = Field(default=None, ge=1, le=128)


class ResponsesBody(_Passing):
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    previous_response_id: str | None = None
    tools: list[dict[str, Any]] | None = None
    text: dict[str, Any] | None = None


class EmbeddingsBody(BaseModel):
    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1)
    input: Any


class LegacyBody(_Passing):
    prompt: Any = None


class MetadataBody(BaseModel):
    """Of a stored completion; nothing else of it can be changed."""

    metadata: dict[str, str] | None

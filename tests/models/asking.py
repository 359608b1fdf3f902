"""What a student is asked in tests, what of its answer, and waiting until something is so."""

from __future__ import annotations

import asyncio
from typing import Any

from stillhouse.chat import ChatRequest, Chunk


def ask(text: str = "hello", **parameters: Any) -> ChatRequest:
    return ChatRequest.build("alias", [{"role": "user", "content": text}], **{"temperature": 0, "max_tokens": 8, **parameters})


def content_of(chunks: list[Chunk]) -> str:
    bodies = [chunk.body for chunk in chunks if chunk.body is not None]
    return "".join(choice["delta"].get("content") or "" for body in bodies for choice in body["choices"])


async def until(condition: Any, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)

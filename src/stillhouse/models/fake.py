"""A ChatModel around a function: the test double, public because everybody's tests need one.

It answers with the text that the function returns for the request; streamed word by word. What the function raises is raised.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

from stillhouse.chat import ChatRequest, ChatResponse, Chunk
from stillhouse.ids import new_id


class FakeModel:
    """`FakeModel(lambda request: "yes")`. Remembers the requests it got, in `requests`."""

    def __init__(self, answer: Callable[[ChatRequest], str]) -> None:
        self._answer = answer
        self.requests: list[ChatRequest] = []
        self.closed = False

    async def complete(self, request: ChatRequest) -> ChatResponse:
        self.requests.append(request)
        text = self._answer(request)
        message = {"role": "assistant", "content": text, "refusal": None}
        choices = [{"index": i, "message": message, "finish_reason": "stop", "logprobs": None} for i in range(request.n)]
        return ChatResponse.build(_body(request, "chat.completion", choices, new_id("fake")) | {"usage": _usage(request, text)})

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        self.requests.append(request)
        text, identifier = self._answer(request), new_id("fake")
        for index in range(request.n):
            for word in re.findall(r"\S*\s*", text):
                if word:
                    yield Chunk.build(_chunk(request, identifier, index, {"role": "assistant", "content": word}, None))
            yield Chunk.build(_chunk(request, identifier, index, {}, "stop"))
        yield Chunk.build(_body(request, "chat.completion.chunk", [], identifier) | {"usage": _usage(request, text)})
        yield Chunk.done()

    async def close(self) -> None:
        self.closed = True


def _chunk(request: ChatRequest, identifier: str, index: int, delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return _body(request, "chat.completion.chunk", [{"index": index, "delta": delta, "finish_reason": finish}], identifier)


def _body(request: ChatRequest, kind: str, choices: list[dict[str, Any]], identifier: str) -> dict[str, Any]:
    return {"id": identifier, "object": kind, "created": 1, "model": request.model, "choices": choices}


def _usage(request: ChatRequest, text: str) -> dict[str, int]:
    """Words for tokens: enough for a test to see them pass."""
    prompt = sum(len(str(message.get("content") or "").split()) for message in request.messages)
    answer = len(text.split())
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}

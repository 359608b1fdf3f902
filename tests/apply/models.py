"""ChatModels around a function, for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from stillhouse.apply import Ask
from stillhouse.chat import ChatRequest, ChatResponse, Chunk

Answering = Callable[[ChatRequest], Awaitable[str]]


class Scripted:
    """Answers with what `answering` returns; counts who asked what."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.asked: list[str] = []

    async def complete(self, request: ChatRequest) -> ChatResponse:
        self.asked.append(request.messages[-1]["content"])
        text = await self.answering(request)
        return ChatResponse.build({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]})

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        raise NotImplementedError
        yield Chunk.done()

    async def close(self) -> None:
        pass


async def shout(request: ChatRequest) -> str:
    return str(request.messages[-1]["content"]).upper()


def asks(*texts: str) -> list[Ask]:
    return [Ask.of(ChatRequest.build("m", [{"role": "user", "content": text}])) for text in texts]

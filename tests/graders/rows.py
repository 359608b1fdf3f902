"""Items and samples for the tests of this folder, and a judge around a function."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

from stillhouse.chat import ChatModel, ChatRequest, ChatResponse, Chunk, Message
from stillhouse.grade import Grade, Grader
from stillhouse.graders.base import Means
from stillhouse.graders.building import build
from stillhouse.sample import sample_of

FENCED = re.compile(r"<(\w+) ([0-9a-f]{32})>\n(.*?)\n</\1 \2>", re.DOTALL)

Says = Callable[[list[Message]], str | dict[str, Any]]
"""The judge's text; an object is answered as JSON."""


class FakeJudge:
    """A ChatModel that answers the messages with `says`; keeps the requests."""

    def __init__(self, says: Says, **choice: Any) -> None:
        self.says = says
        self.choice = choice
        self.requests: list[ChatRequest] = []

    async def complete(self, request: ChatRequest) -> ChatResponse:
        self.requests.append(request)
        said = self.says(request.messages)
        message = {"role": "assistant", "content": said if isinstance(said, str) else json.dumps(said), "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", **self.choice}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        return ChatResponse.build({"model": f"{request.model}-2026", "choices": [choice], "usage": usage})

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        raise NotImplementedError
        yield Chunk.done()

    async def close(self) -> None:
        pass


def fenced(messages: list[Message]) -> list[str]:
    """What stands inside fences, in order."""
    texts = [part["text"] for message in messages if isinstance(message["content"], list) for part in message["content"]]
    whole = "\n".join([*(str(message["content"]) for message in messages), *texts])
    return [match[3] for match in FENCED.finditer(whole)]


def means(model: ChatModel | None = None) -> Means:
    return Means() if model is None else Means(model=lambda name: model)


async def grade(grader: Grader | dict[str, Any], text: str, model: ChatModel | None = None, **item: Any) -> Grade:
    """The grade of one text as the answer to one item."""
    built = build(grader, means(model)) if isinstance(grader, dict) else grader
    return await built.grade(item, sample_of(text))

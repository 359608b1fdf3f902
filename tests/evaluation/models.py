"""Candidates around a function, and examples, for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from stillhouse.chat import ChatRequest, ChatResponse, Chunk
from stillhouse.dataset import Example
from stillhouse.evaluation import Candidate, Plan
from stillhouse.grade import Answered, Grade

Says = Callable[[str], str]


class Speaker:
    """A ChatModel that answers the last message's text with `says`; keeps the requests."""

    def __init__(self, says: Says, usage: dict[str, int] | None = None) -> None:
        self.says = says
        self.usage = usage
        self.requests: list[ChatRequest] = []

    async def complete(self, request: ChatRequest) -> ChatResponse:
        self.requests.append(request)
        message = {"role": "assistant", "content": self.says(request.messages[-1]["content"])}
        usage = {"usage": self.usage} if self.usage else {}
        return ChatResponse.build({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **usage})

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        raise NotImplementedError
        yield Chunk.done()

    async def close(self) -> None:
        pass


PLAN = Plan(name="t", dataset="sha256:0")


def candidate(role: str, says: Says, usage: dict[str, int] | None = None) -> Candidate:
    return Candidate(role, f"{role}-model", Speaker(says, usage))


def example(number: int, answer: str, question: str | None = None, **metadata: str) -> Example:
    prompt = [{"role": "user", "content": question or f"question {number}"}]
    return Example(id=f"e{number}", messages=prompt, answer=answer, split="test", group=f"g{number}", metadata=metadata)


def row(
    number: int, *, right: bool, model: str = "m", grader: str = "exact", answer: str | None = "a", **more: object
) -> Answered:
    grade = Grade(score=float(right), passed=right)
    fields = {"example": f"e{number}", "model": model, "answer": answer, "grades": {grader: grade} if answer is not None else {}}
    return Answered.model_validate({**fields, **more})

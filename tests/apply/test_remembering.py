from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from stillhouse.apply import Outcome, Remembering
from stillhouse.chat import ChatRequest, ChatResponse, Chunk
from stillhouse.errors import UpstreamError


class Counter:
    """Says how often it was asked; the first `fails` times it raises instead."""

    def __init__(self, *fails: UpstreamError) -> None:
        self.fails = list(fails)
        self.asked = 0

    async def complete(self, request: ChatRequest) -> ChatResponse:
        self.asked += 1
        if self.fails:
            raise self.fails.pop(0)
        return ChatResponse.build({"choices": [{"index": 0, "message": {"role": "assistant", "content": str(self.asked)}}]})

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        raise NotImplementedError
        yield Chunk.done()

    async def close(self) -> None:
        raise AssertionError("it is not ours to close")


def question(text: str) -> ChatRequest:
    return ChatRequest.build("judge", [{"role": "user", "content": text}])


async def at_once(_: float) -> None:
    return None


async def test_what_was_said_is_said_again_once_and_in_its_order() -> None:
    kept: list[Outcome] = []
    first = Remembering(Counter(), [], kept.append)
    said = [(await first.complete(question(text))).text for text in ("a", "a", "b")]
    inner = Counter()
    again = Remembering(inner, kept, lambda _: None)
    assert [(await again.complete(question(text))).text for text in ("b", "a", "a")] == [said[2], said[0], said[1]]
    assert inner.asked == 0
    assert (await again.complete(question("a"))).text == "1"
    assert inner.asked == 1


async def test_a_candidates_answers_are_not_a_judges() -> None:
    kept: list[Outcome] = []
    await Remembering(Counter(), [], kept.append).complete(question("a"))
    foreign = [outcome.model_copy(update={"key": outcome.key.removeprefix("said:")}) for outcome in kept]
    inner = Counter()
    await Remembering(inner, foreign, lambda _: None).complete(question("a"))
    assert inner.asked == 1


async def test_it_asks_again_what_may_pass_and_keeps_no_failure() -> None:
    kept: list[Outcome] = []
    inner = Counter(UpstreamError("busy", status=503), UpstreamError("busy", status=429))
    assert (await Remembering(inner, [], kept.append, sleep=at_once).complete(question("a"))).text == "3"
    assert [outcome.attempts for outcome in kept] == [3]
    refusing = Counter(UpstreamError("no", status=400))
    with pytest.raises(UpstreamError, match="no"):
        await Remembering(refusing, [], kept.append, sleep=at_once).complete(question("b"))
    assert (refusing.asked, len(kept)) == (1, 1)


async def test_closing_leaves_the_inner_model_open() -> None:
    await Remembering(Counter(), [], lambda _: None).close()

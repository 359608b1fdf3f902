"""One suite for every way to answer: each kind of the registry must pass it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from stillhouse.chat import ChatModel, ChatRequest
from stillhouse.ending import Ending, judge
from stillhouse.models import MODELS
from stillhouse.upstream import Upstream
from tests.fakes.upstream import FakeUpstream

Builder = Callable[[], AbstractAsyncContextManager[ChatModel]]


@contextlib.asynccontextmanager
async def closing(model: ChatModel) -> AsyncIterator[ChatModel]:
    try:
        yield model
    finally:
        await model.close()


@contextlib.asynccontextmanager
async def a_fake() -> AsyncIterator[ChatModel]:
    async with closing(MODELS.resolve("fake")(lambda request: "a b c")) as model:
        yield model


@contextlib.asynccontextmanager
async def an_upstream() -> AsyncIterator[ChatModel]:
    with FakeUpstream() as upstream:
        async with closing(MODELS.resolve("openai")(Upstream(name="up", base_url=upstream.base_url), {})) as model:
            yield model


BUILDERS: dict[str, Builder] = {"fake": a_fake, "openai": an_upstream}
ELSEWHERE = {"student"}
"""Needs weights: tests/models/test_student.py has it under the same promises."""


def test_every_kind_is_here() -> None:
    assert set(MODELS.names()) == set(BUILDERS) | ELSEWHERE


def asking(stream: bool, n: int) -> ChatRequest:
    return ChatRequest.build("m", [{"role": "user", "content": "hi"}], stream=stream, n=n)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("kind", sorted(BUILDERS))
async def test_a_whole_answer_is_complete(kind: str, n: int) -> None:
    async with BUILDERS[kind]() as model:
        response = await model.complete(asking(False, n))
    assert judge(response, n) == ("complete", None)
    assert response.text and response.id and response.usage.completion_tokens is not None
    assert response.body["object"] == "chat.completion"


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("kind", sorted(BUILDERS))
async def test_a_streamed_answer_is_complete_and_says_the_same(kind: str, n: int) -> None:
    ending, texts = Ending(n), [""] * n
    async with BUILDERS[kind]() as model:
        whole = await model.complete(asking(False, n))
        async for chunk in model.stream(asking(True, n)):
            ending.see(chunk)
            for choice in (chunk.body or {}).get("choices", []):
                texts[choice["index"]] += choice["delta"].get("content") or ""
    assert ending.verdict() == ("complete", None)
    assert texts == [choice["message"]["content"] for choice in whole.choices]


@pytest.mark.parametrize("kind", sorted(BUILDERS))
async def test_closing_twice_does_no_harm(kind: str) -> None:
    async with BUILDERS[kind]() as model:
        await model.close()

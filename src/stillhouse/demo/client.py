"""The application's side of the demo: questions through the official `openai` SDK, as any client would send them.

It knows a base URL and a model's name, nothing of Stillhouse. The same class asks the teacher and, at the end, the student.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from stillhouse.tasks.base import Question

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

CONCURRENCY = 16


class Client:
    """Asks the model `model` at `base_url`; `instruction` is sent before every question, where there is one."""

    def __init__(self, base_url: str, model: str, instruction: str | None = None) -> None:
        from openai import AsyncOpenAI, omit

        self._sdk = AsyncOpenAI(base_url=base_url, api_key="none-needed-on-loopback", max_retries=5)
        self._unset = omit
        self._model = model
        self._instruction = instruction

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._sdk.close()

    def messages(self, question: Question) -> list[ChatCompletionMessageParam]:
        """The prompt of a question."""
        asked: ChatCompletionMessageParam = {"role": "user", "content": question.text}
        return [{"role": "system", "content": self._instruction}, asked] if self._instruction else [asked]

    async def ask_all(
        self, questions: Sequence[Question], *, samples: int, temperature: float | None, done: Callable[[int], None]
    ) -> None:
        """Every question `samples` times, stored with its task and its right answer; `done` hears how many were answered."""
        waiting = iter([question for question in questions for _ in range(samples)])
        answered = 0

        async def work() -> None:
            nonlocal answered
            for question in waiting:
                await self._ask(question, temperature)
                answered += 1
                done(answered)

        async with asyncio.TaskGroup() as workers:
            for _ in range(CONCURRENCY):
                workers.create_task(work())

    async def _ask(self, question: Question, temperature: float | None) -> None:
        await self._sdk.chat.completions.create(
            model=self._model,
            messages=self.messages(question),
            store=True,
            metadata=_metadata(question),
            temperature=self._unset if temperature is None else temperature,
        )

    async def stream(self, question: Question) -> AsyncIterator[str]:
        """The likeliest answer as it is written, piece by piece; stored too."""
        chunks = await self._sdk.chat.completions.create(
            model=self._model,
            messages=self.messages(question),
            store=True,
            metadata=_metadata(question),
            temperature=0,
            stream=True,
        )
        async for chunk in chunks:
            for choice in chunk.choices:
                if choice.delta.content:
                    yield choice.delta.content


def _metadata(question: Question) -> dict[str, str]:
    return {"task": question.task, "reference": question.answer}

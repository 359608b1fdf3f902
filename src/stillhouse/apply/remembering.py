"""A ChatModel that first says again what it said in an earlier life, request by request: judges of a run that was killed.

What is said is handed to `keep`; what was kept comes back as `said`. Each is said again once, in its order, so that a judge who
is asked the same twice (because its first answer was no verdict) does not hear its first answer twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable

from stillhouse.apply.asking import Outcome
from stillhouse.apply.patience import Patience, Sleep
from stillhouse.chat import ChatModel, ChatRequest, ChatResponse, Chunk
from stillhouse.errors import OverloadedError, UpstreamError

PREFIX = "said:"
"""Of the keys, so that they stand apart from those of asks in one journal."""


class Remembering:
    """Asks again where it may help, as `apply` does. Failures are not kept."""

    def __init__(
        self,
        inner: ChatModel,
        said: Iterable[Outcome],
        keep: Callable[[Outcome], None],
        *,
        patience: Patience | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._inner = inner
        self._keep = keep
        self._patience = patience or Patience()
        self._sleep = sleep
        self._said: dict[str, list[Outcome]] = {}
        for outcome in said:
            if outcome.key.startswith(PREFIX) and outcome.body is not None:
                self._said.setdefault(outcome.key, []).append(outcome)

    async def complete(self, request: ChatRequest) -> ChatResponse:
        key = PREFIX + hashlib.sha256(request.raw).hexdigest()
        known = self._said.get(key)
        if known:
            return ChatResponse((known.pop(0).body or "").encode())
        response, attempts = await self._answer(request)
        outcome = Outcome(key=key, body=response.raw.decode(errors="replace"), attempts=attempts)
        await asyncio.to_thread(self._keep, outcome)
        return response

    def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        return self._inner.stream(request)

    async def close(self) -> None:
        """The inner model is closed by whoever made it."""

    async def _answer(self, request: ChatRequest) -> tuple[ChatResponse, int]:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._inner.complete(request), attempt
            except (UpstreamError, OverloadedError) as error:
                wait = self._patience.wait(error, attempt)
                if wait is None:
                    raise
                await self._sleep(wait)

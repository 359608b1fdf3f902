"""Ask one ChatModel many things: so many at a time, again where it may help, each outcome kept as it comes, order as given.

Knows neither datasets nor graders nor the store: `seen` and `keep` are handed in, and so is the sleep, so that tests do not.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass

from stillhouse.apply.patience import Patience, Sleep
from stillhouse.chat import ChatModel, ChatRequest, ChatResponse
from stillhouse.errors import OverloadedError, PermissionRefusedError, UpstreamError
from stillhouse.records import Record


@dataclass(frozen=True)
class Ask:
    """A request and the key its outcome is kept under. Equal keys are asked once."""

    key: str
    request: ChatRequest

    @classmethod
    def of(cls, request: ChatRequest) -> Ask:
        """Keyed by what is asked (model, messages, parameters): asking the same again resumes."""
        return cls(hashlib.sha256(request.raw).hexdigest(), request)


class Outcome(Record):
    """What became of one Ask: the response's body, or why there is none."""

    key: str
    body: str | None = None
    error: str | None = None
    latency_ms: float | None = None
    """Of the attempt that succeeded, from request to whole body; waiting for a turn or between attempts is not in it."""
    attempts: int = 1

    @property
    def response(self) -> ChatResponse | None:
        return None if self.body is None else ChatResponse(self.body.encode())


HOPELESS = 20
"""Failures in a row after which the other requests would fare no better: a server that is down, a parameter it refuses."""

Progress = Callable[[int, int], None]
"""Called with how many are done (kept ones included), and of how many."""


async def apply(
    model: ChatModel,
    asks: Sequence[Ask],
    *,
    concurrency: int = 8,
    patience: Patience | None = None,
    seen: Mapping[str, Outcome] | None = None,
    keep: Callable[[Outcome], None] | None = None,
    progress: Progress | None = None,
    sleep: Sleep = asyncio.sleep,
) -> list[Outcome]:
    """The outcome of every ask, in the order of `asks`.

    `concurrency` is how many requests are under way at once, those waiting to be retried included. What `seen` answers is not
    asked; what failed there is. `keep` is called once an outcome, in a thread, and the next request waits for it. A failure is an
    outcome; but a refused key (401) and `HOPELESS` failures in a row end everything.

    Raises PermissionRefusedError and UpstreamError then, and whatever `keep` or `model` raise that is no failure to answer.
    Requests under way are cancelled then, as they are when the caller cancels.
    """
    outcomes = {key: outcome for key, outcome in (seen or {}).items() if outcome.error is None}
    unique = {ask.key: ask for ask in asks}
    pending = [ask for key, ask in unique.items() if key not in outcomes]
    done, in_a_row = len(unique) - len(pending), 0
    report = progress or _silent

    async def work(left: Iterator[Ask]) -> None:
        nonlocal done, in_a_row
        for ask in left:
            outcome = await _ask(model, ask, patience or Patience(), sleep)
            if keep is not None:
                await asyncio.to_thread(keep, outcome)
            outcomes[ask.key] = outcome
            done += 1
            report(done, len(unique))
            in_a_row = 0 if outcome.error is None else in_a_row + 1
            if in_a_row == HOPELESS:
                raise UpstreamError(f"{HOPELESS} requests in a row failed, the last one with {outcome.error}")

    report(done, len(unique))
    turns = iter(pending)
    await _together([work(turns) for _ in range(min(max(1, concurrency), len(pending)))])
    return [outcomes[ask.key] for ask in asks]


async def _ask(model: ChatModel, ask: Ask, patience: Patience, sleep: Sleep) -> Outcome:
    """Ask until it is answered or patience ends."""
    attempt = 0
    while True:
        attempt += 1
        start = time.perf_counter()
        try:
            response = await model.complete(ask.request)
        except (UpstreamError, OverloadedError) as error:
            if isinstance(error, UpstreamError) and error.status == 401:
                raise PermissionRefusedError(f"'{ask.request.model}' refused the key: {error}") from error
            wait = patience.wait(error, attempt)
            if wait is None:
                return Outcome(key=ask.key, error=f"{type(error).__name__}: {error}", attempts=attempt)
            await sleep(wait)
        else:
            latency_ms = (time.perf_counter() - start) * 1000
            body = response.raw.decode(errors="replace")
            return Outcome(key=ask.key, body=body, latency_ms=latency_ms, attempts=attempt)


async def _together(works: Sequence[Coroutine[None, None, None]]) -> None:
    """Run all; the first error ends the others and is raised by itself, not as a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _silent(done: int, total: int) -> None:
    """Nobody wants to know."""

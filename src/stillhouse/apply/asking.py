"""Ask one ChatModel many things: as many at a time as it bears, again where it may help, each outcome kept as it comes.

Knows neither datasets nor graders nor the store: where outcomes are kept is handed in (`Keeping`), and so is the sleep, so that
tests do not. Asks are taken one by one from an iterator: what is in memory is what is under way.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stillhouse.apply.failures import ENDS_EVERYTHING, Kind, is_load, kind_of
from stillhouse.apply.limits import Limit
from stillhouse.apply.patience import Patience, Sleep
from stillhouse.apply.tally import Tally
from stillhouse.chat import ChatModel, ChatRequest, ChatResponse
from stillhouse.errors import OverloadedError, PermissionRefusedError, StillhouseError, UpstreamError
from stillhouse.records import Record


@dataclass(frozen=True)
class Ask:
    """A request and the key its outcome is kept under. Equal keys are asked once."""

    key: str
    request: ChatRequest

    @classmethod
    def of(cls, request: ChatRequest, sample: int = 0) -> Ask:
        """Keyed by what is asked (model, messages, parameters) and the number of the sample: asking the same again resumes."""
        which = f"#{sample}".encode() if sample else b""
        return cls(hashlib.sha256(request.raw + which).hexdigest(), request)


class Outcome(Record):
    """What became of one Ask: the response's body, or why there is none."""

    key: str
    body: str | None = None
    error: str | None = None
    kind: Kind | None = None
    """Of the failure."""
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


class Keeping(Protocol):
    """Where outcomes go and what they may cost: `Ledger`, or a dictionary in memory."""

    def answered(self, key: str) -> bool:
        """Whether it need not be asked."""
        ...

    async def set_aside(self, ask: Ask) -> bool:
        """Before each attempt; False: the budget is spent, ask nothing more."""
        ...

    async def give_back(self, ask: Ask, kind: Kind) -> None:
        """After an attempt that failed."""
        ...

    async def keep(self, ask: Ask, outcome: Outcome) -> None:
        """After the last attempt, and before the next request of its turn. `give_back` was called for a failure."""
        ...


@dataclass
class Asking:
    """The settings of one go, and the go itself: `await Asking(model, keeping).all(asks)`."""

    model: ChatModel
    keeping: Keeping
    limit: Limit = field(default_factory=lambda: Limit(8, adaptive=False))
    patience: Patience = field(default_factory=Patience)
    tally: Tally = field(default_factory=Tally)
    sleep: Sleep = asyncio.sleep
    stop: Callable[[], bool] = lambda: False
    """Asked before each new request; True: what is under way ends, nothing else is begun."""
    out_of_budget: bool = False
    """Whether something was not asked because the budget was spent."""
    _in_a_row: int = 0
    _under_way: set[str] = field(default_factory=set)

    async def all(self, asks: Iterable[Ask]) -> None:
        """Ask what is not answered yet.

        A failure is an outcome; but a refused key (401), an empty account and `HOPELESS` failures in a row end everything. Raises
        PermissionRefusedError and UpstreamError then, and whatever `keeping` or `model` raise that is no failure to answer.
        Requests under way are cancelled then, as they are when the caller cancels.
        """
        turns = iter(asks)
        first = next(turns, None)
        if first is not None:
            left = _again(first, turns)
            await together([self._work(left) for _ in range(self.limit.most)])

    async def _work(self, left: Iterator[Ask]) -> None:
        for ask in left:
            if self.keeping.answered(ask.key) or ask.key in self._under_way:
                continue
            if self.out_of_budget or self.stop():
                return
            self._under_way.add(ask.key)
            outcome = await self._ask(ask)
            if outcome is not None:
                await self.keeping.keep(ask, outcome)
                self._count(outcome)
            self._under_way.discard(ask.key)

    def _count(self, outcome: Outcome) -> None:
        self.tally.count(asyncio.get_running_loop().time(), outcome.kind)
        self._in_a_row = 0 if outcome.error is None else self._in_a_row + 1
        if self._in_a_row == HOPELESS:
            raise UpstreamError(f"{HOPELESS} requests in a row failed, the last one with {outcome.error}")

    async def _ask(self, ask: Ask) -> Outcome | None:
        """Ask until it is answered or patience ends; None when the budget ends first, or somebody asks to stop."""
        failures: Counter[bool] = Counter()
        while True:
            since = await self.limit.turn()
            try:
                if not await self.keeping.set_aside(ask):
                    self.out_of_budget = True
                    self.limit.left()
                    return None
                since = asyncio.get_running_loop().time()
                response = await self.model.complete(ask.request)
            except (UpstreamError, OverloadedError) as error:
                kind = kind_of(error)
                self._release(error, kind)
                await self.keeping.give_back(ask, kind)
                if kind in ENDS_EVERYTHING:
                    raise PermissionRefusedError(_ending(ask, kind, error)) from error
                throttled = kind == "throttled"
                failures[throttled] += 1
                wait = self.patience.wait(error, failures[throttled])
                if wait is None:
                    said = f"{type(error).__name__}: {error}"
                    return Outcome(key=ask.key, error=said, kind=kind, attempts=failures.total())
                self.tally.retried[kind] += 1
                await self.sleep(wait)
                if self.stop():
                    return None
            except BaseException:
                self.limit.left()
                raise
            else:
                self.limit.answered(since, response.headers)
                latency_ms = (asyncio.get_running_loop().time() - since) * 1000
                body = response.raw.decode(errors="replace")
                return Outcome(key=ask.key, body=body, latency_ms=latency_ms, attempts=failures.total() + 1)

    def _release(self, error: UpstreamError | OverloadedError, kind: Kind) -> None:
        """Give the turn back, with what the failure says about load."""
        if is_load(kind):
            self.limit.refuse(error.headers if isinstance(error, UpstreamError) else {})
        else:
            self.limit.left()


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
    """The outcome of every ask, in the order of `asks`, all of them in memory: for what fits there.

    `concurrency` is how many requests are under way at once, those waiting to be retried included. What `seen` answers is not
    asked; what failed there is. `keep` is called once an outcome, in a thread, and the next request waits for it. Raises as
    `Asking.all` does.
    """
    unique = {ask.key: ask for ask in asks}
    memory = _Memory({key: outcome for key, outcome in (seen or {}).items() if outcome.error is None}, keep)
    done = sum(key in memory.outcomes for key in unique)

    def told(outcome: Outcome) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, len(unique))

    memory.told = told
    if progress is not None:
        progress(done, len(unique))
    most = min(max(1, concurrency), max(1, len(unique) - done))
    limit = Limit(most, adaptive=False)
    await Asking(model, memory, limit=limit, patience=patience or Patience(), sleep=sleep).all(unique.values())
    return [memory.outcomes[ask.key] for ask in asks]


class _Memory:
    """Keeping without a budget or a disk, but for what the caller does with each outcome."""

    def __init__(self, outcomes: dict[str, Outcome], keep: Callable[[Outcome], None] | None) -> None:
        self.outcomes = outcomes
        self.told: Callable[[Outcome], None] = lambda outcome: None
        self._keep = keep

    def answered(self, key: str) -> bool:
        return key in self.outcomes

    async def set_aside(self, ask: Ask) -> bool:
        return True

    async def give_back(self, ask: Ask, kind: Kind) -> None:
        pass

    async def keep(self, ask: Ask, outcome: Outcome) -> None:
        if self._keep is not None:
            await asyncio.to_thread(self._keep, outcome)
        self.outcomes[ask.key] = outcome
        self.told(outcome)


def _ending(ask: Ask, kind: Kind, error: StillhouseError) -> str:
    if kind == "key":
        return f"'{ask.request.model}' refused the key: {error}"
    return f"The account behind '{ask.request.model}' has no credit left (insufficient_quota): {error}"


def _again(first: Ask, rest: Iterator[Ask]) -> Iterator[Ask]:
    yield first
    yield from rest


async def together(works: Sequence[Coroutine[None, None, None]]) -> None:
    """Run all at once; the first error ends the others and is raised by itself, not as a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None

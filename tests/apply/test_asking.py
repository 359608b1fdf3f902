from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from stillhouse.apply import Outcome, Patience, apply
from stillhouse.chat import ChatRequest
from stillhouse.errors import OverloadedError, PermissionRefusedError, UpstreamError, UsageError
from tests.apply.models import Scripted, asks, shout


class Naps:
    """A sleep that only writes down how long it should have been."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


def texts(outcomes: list[Outcome]) -> list[str | None]:
    return [outcome.response.text if outcome.response else None for outcome in outcomes]


async def test_outcomes_come_in_the_order_of_the_asks_whatever_finishes_first() -> None:
    gates = {name: asyncio.Event() for name in "abc"}

    async def answering(request: ChatRequest) -> str:
        name = request.messages[-1]["content"]
        await gates[name].wait()
        gates[{"c": "b", "b": "a", "a": "a"}[name]].set()
        return str(name).upper()

    gates["c"].set()
    assert texts(await apply(Scripted(answering), asks("a", "b", "c"), concurrency=3)) == ["A", "B", "C"]


@pytest.mark.parametrize("concurrency", [1, 3, 50])
async def test_never_more_under_way_than_allowed_and_never_fewer_than_possible(concurrency: int) -> None:
    under_way, most = 0, 0

    async def answering(request: ChatRequest) -> str:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(5):
            await asyncio.sleep(0)
        under_way -= 1
        return "x"

    await apply(Scripted(answering), asks(*map(str, range(40))), concurrency=concurrency)
    assert most == min(concurrency, 40)


async def test_what_may_pass_is_asked_again_and_what_cannot_is_not() -> None:
    seen: Counter[str] = Counter()
    failures = {
        "busy": UpstreamError("slow down", status=429, headers={"Retry-After": "7"}),
        "broken": UpstreamError("oops", status=503),
        "gone": UpstreamError("connection reset"),
        "full": OverloadedError("queue", retry_after=3),
        "wrong": UpstreamError("no such field", status=400),
        "retried": UpstreamError("oops", status=502, headers={"x-should-retry": "false"}),
    }

    async def answering(request: ChatRequest) -> str:
        name = request.messages[-1]["content"]
        seen[name] += 1
        if seen[name] < 3:
            raise failures[name]
        return "ok"

    naps = Naps()
    outcomes = await apply(Scripted(answering), asks(*failures), concurrency=1, patience=Patience(jitter=lambda: 1), sleep=naps)
    assert texts(outcomes) == ["ok"] * 4 + [None] * 2
    assert [outcome.attempts for outcome in outcomes] == [3, 3, 3, 3, 1, 1]
    assert naps.taken == [7, 7, 0.5, 1, 0.5, 1, 3, 3]
    assert "no such field" in (outcomes[4].error or "")


async def test_patience_ends() -> None:
    async def answering(request: ChatRequest) -> str:
        raise UpstreamError("oops", status=500)

    model, naps = Scripted(answering), Naps()
    (outcome,) = await apply(model, asks("a"), patience=Patience(attempts=4), sleep=naps)
    assert (len(model.asked), len(naps.taken), outcome.attempts, outcome.body) == (4, 3, 4, None)


async def test_a_refused_key_ends_everything() -> None:
    async def answering(request: ChatRequest) -> str:
        raise UpstreamError("bad key", status=401)

    model = Scripted(answering)
    with pytest.raises(PermissionRefusedError, match="bad key"):
        await apply(model, asks(*"abcdefgh"), concurrency=2)
    assert len(model.asked) <= 2


async def test_failures_in_a_row_end_everything_and_failures_in_between_do_not() -> None:
    async def answering(request: ChatRequest) -> str:
        if int(request.messages[-1]["content"]) % 20 == 19 or healthy:
            return "ok"
        raise UpstreamError("temperature is not supported", status=400)

    many, kept = asks(*map(str, range(100))), list[Outcome]()
    healthy = False
    assert len(await apply(Scripted(answering), many, concurrency=1)) == 100
    model = Scripted(answering)
    with pytest.raises(UpstreamError, match="20 requests in a row.*temperature is not supported"):
        await apply(model, many[20:39] + many[40:], concurrency=1, keep=kept.append)
    assert len(model.asked) == len(kept) == 20
    healthy = True
    seen = {outcome.key: outcome for outcome in kept}
    assert texts(await apply(Scripted(answering), many, seen=seen)) == ["ok"] * 100


async def test_equal_requests_are_asked_once() -> None:
    model = Scripted(shout)
    assert texts(await apply(model, asks("a", "b", "a"))) == ["A", "B", "A"]
    assert sorted(model.asked) == ["a", "b"]


async def test_resuming_asks_only_what_is_missing_or_failed() -> None:
    kept: list[Outcome] = []
    first = await apply(Scripted(shout), asks("a", "b"), keep=kept.append)
    failed = Outcome(key=asks("c")[0].key, error="it rained")
    model, progress = Scripted(shout), list[tuple[int, int]]()
    seen = {outcome.key: outcome for outcome in [*kept, failed]}
    again = await apply(model, asks("a", "b", "c", "d"), seen=seen, progress=lambda done, total: progress.append((done, total)))
    assert sorted(model.asked) == ["c", "d"]
    assert again[:2] == first
    assert texts(again) == ["A", "B", "C", "D"]
    assert progress == [(2, 4), (3, 4), (4, 4)]


async def test_an_outcome_is_kept_before_the_next_request_of_its_turn() -> None:
    order: list[str] = []

    async def answering(request: ChatRequest) -> str:
        order.append(f"ask {request.messages[-1]['content']}")
        return "x"

    await apply(Scripted(answering), asks("a", "b"), concurrency=1, keep=lambda outcome: order.append("keep"))
    assert order == ["ask a", "keep", "ask b", "keep"]


async def test_an_error_while_keeping_ends_the_run_as_itself() -> None:
    def full(outcome: Outcome) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        await apply(Scripted(shout), asks(*"abcdef"), keep=full)


async def test_a_mistake_of_the_caller_is_not_an_outcome() -> None:
    async def answering(request: ChatRequest) -> str:
        raise UsageError("no such model")

    with pytest.raises(UsageError, match="no such model"):
        await apply(Scripted(answering), asks("a", "b"))


async def test_cancelling_cancels_what_is_under_way_and_leaves_what_was_kept() -> None:
    started, cancelled, kept = asyncio.Event(), list[str](), list[Outcome]()

    async def answering(request: ChatRequest) -> str:
        name = request.messages[-1]["content"]
        if name == "a":
            return "A"
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(name)
            raise
        return "never"

    task = asyncio.create_task(apply(Scripted(answering), asks("a", "b", "c"), concurrency=1, keep=kept.append))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled == ["b"]
    assert [outcome.response.text for outcome in kept if outcome.response] == ["A"]


async def test_nothing_to_ask_is_no_error() -> None:
    assert await apply(Scripted(shout), []) == []


async def test_latency_is_that_of_the_answering_attempt() -> None:
    (outcome,) = await apply(Scripted(shout), asks("a"))
    assert outcome.latency_ms is not None
    assert outcome.latency_ms >= 0

"""The window against upstreams with a rate limit, refusals by chance and outages, on a clock that is a number."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.apply import Ask, Asking, Limit, Outcome, Patience
from stillhouse.apply.failures import Kind
from stillhouse.apply.limits import hold_seconds, seconds_of
from stillhouse.chat import ChatRequest, ChatResponse, Chunk
from stillhouse.errors import UpstreamError
from tests.fakes.teacher import Teacher
from tests.fakes.virtual_time import run_virtual


class Answers:
    """Keeping that only counts."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}

    def answered(self, key: str) -> bool:
        return key in self.outcomes

    async def set_aside(self, ask: Ask) -> bool:
        return True

    async def give_back(self, ask: Ask, kind: Kind) -> None:
        pass

    async def keep(self, ask: Ask, outcome: Outcome) -> None:
        assert ask.key not in self.outcomes
        self.outcomes[ask.key] = outcome


class Limited:
    """`Teacher` as a ChatModel, with an outage from `dark` to `light`."""

    def __init__(self, teacher: Teacher, *, dark: float = -1, light: float = -1, retry: str = "retry-after-ms") -> None:
        self.teacher, self.dark, self.light, self.retry = teacher, dark, light, retry
        self.sent: list[float] = []

    async def complete(self, request: ChatRequest) -> ChatResponse:
        now = asyncio.get_running_loop().time()
        self.sent.append(now)
        if self.dark <= now < self.light:
            await asyncio.sleep(0.01)
            raise UpstreamError("down", status=503)
        admitted, headers = self.teacher.admits(now), dict(_lines(self.teacher.limits()))
        if not admitted:
            self.teacher.refused += 1
            raise UpstreamError("slow", status=429, headers={**headers, self.retry: "50" if self.retry.endswith("ms") else "1"})
        await asyncio.sleep(self.teacher.random.uniform(self.teacher.low, self.teacher.high))
        return ChatResponse(b"{}", headers)

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        raise NotImplementedError
        yield Chunk.done()

    async def close(self) -> None:
        pass


def _lines(headers: bytes) -> list[tuple[str, str]]:
    pairs = [line.split(": ") for line in headers.decode().split("\r\n") if line]
    return [(name, value) for name, value in pairs]


def teacher(*, burst: float = 400, refuse: float = 0, headers: bool = False, rate: float = 400) -> Teacher:
    return Teacher(0.15, 0.3, rate, burst, refuse, headers)


def seconds(model: Limited, count: int, limit: Limit, *, attempts: int = 5) -> float:
    async def go() -> float:
        keeping, dice = Answers(), random.Random(1)
        patience = Patience(attempts=attempts, jitter=dice.random)
        await Asking(model, keeping, limit=limit, patience=patience).all(Ask(str(i), ChatRequest(b"{}")) for i in range(count))
        assert len(keeping.outcomes) == count
        assert all(outcome.error is None for outcome in keeping.outcomes.values())
        return asyncio.get_running_loop().time()

    return run_virtual(go())


@pytest.mark.parametrize(
    ("upstream", "retry"),
    [
        (teacher(), "retry-after-ms"),
        (teacher(burst=40), "retry-after"),
        (teacher(burst=40, headers=True), "retry-after-ms"),
        (teacher(headers=True), "retry-after-ms"),
        (teacher(refuse=0.02), "retry-after-ms"),
    ],
)
def test_nine_tenths_of_what_an_upstream_admits_are_used_and_few_are_refused(upstream: Teacher, retry: str) -> None:
    count = 4000
    took = seconds(Limited(upstream, retry=retry), count, Limit(400))
    ideal = (count - upstream.burst) / upstream.rate
    assert took <= ideal / 0.85 + 1, "beside 90 %, a second to find out what the upstream bears"
    assert upstream.refused <= 0.25 * count


def test_an_upstream_without_limits_gets_all_that_is_allowed() -> None:
    limit = Limit(200)
    took = seconds(Limited(teacher(rate=0)), 4000, limit)
    assert limit.window == 200
    assert took < 4000 / 200 * 0.225 * 1.2 + 1


def test_an_outage_takes_the_window_down_and_its_end_up_again() -> None:
    upstream = Limited(teacher(rate=0), dark=2, light=12)
    limit = Limit(100)
    took = seconds(upstream, 3000, limit, attempts=1000)
    during = sum(2.5 < at < 12 for at in upstream.sent)
    assert during < 400, "an upstream that is down is not run over"
    assert limit.window > 50
    assert took < 12 + 30 + 5, "no request waits longer than patience's longest wait"


def test_nothing_is_sent_before_what_is_left_is_there_again() -> None:
    async def go() -> list[float]:
        limit, sent = Limit(4, adaptive=False), []
        for _ in range(3):
            since = await limit.turn()
            sent.append(since)
            limit.answered(since, {"X-RateLimit-Remaining-Tokens": "0", "x-ratelimit-reset-tokens": "1m30ms"})
        return sent

    assert run_virtual(go()) == [0, 60, 120], "never longer than a minute at a time"


def test_turns_are_given_in_order_and_a_cancelled_one_is_free_again() -> None:
    async def go() -> None:
        limit, order = Limit(1, adaptive=False), []

        async def one(name: str) -> None:
            since = await limit.turn()
            order.append(name)
            await asyncio.sleep(1)
            limit.answered(since, {})

        tasks = [asyncio.create_task(one(name)) for name in "abc"]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == ["a", "c"]
        assert limit.under_way == 0

    run_virtual(go())


@given(st.lists(st.sampled_from(["answered", "refuse", "left"]), max_size=300), st.integers(1, 50))
def test_the_window_stays_within_its_bounds_whatever_happens(news: list[str], most: int) -> None:
    async def go() -> None:
        limit = Limit(most)
        for each in news:
            since = await limit.turn()
            assert 1 <= limit.under_way <= most
            if each == "answered":
                limit.answered(since, {})
            elif each == "refuse":
                limit.refuse({})
            else:
                limit.left()
            assert 1 <= limit.window <= most
        assert limit.under_way == 0

    run_virtual(go())


@pytest.mark.parametrize(
    ("said", "expected"),
    [("1s", 1), ("20ms", 0.02), ("6m0s", 360), ("1h2m3.5s", 3723.5), ("2.5", 2.5), ("0", 0), ("soon", 0), ("", 0), ("-1s", 0)],
)
def test_durations(said: str, expected: float) -> None:
    assert seconds_of(said) == pytest.approx(expected)


@given(st.dictionaries(st.sampled_from(["x-ratelimit-remaining-a", "x-ratelimit-reset-a", "other"]), st.text(max_size=12)))
def test_any_header_is_survived(headers: dict[str, str]) -> None:
    assert hold_seconds(headers) >= 0

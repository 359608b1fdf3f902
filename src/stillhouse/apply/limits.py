"""How many requests one upstream may have under way: learnt from how it answers, never more than it was given.

Additive increase, multiplicative decrease (Chiu & Jain 1989), request by request as DCTCP does it packet by packet (Alizadeh et
al. 2010): a window in which a share of the requests is refused shrinks by that share, so an upstream that takes 400 a second is
asked a little more than 400 a second, and not half of it after every refusal. The window doubles every round trip until the
first refusals (again, once an outage took it down to 1), and never falls by more than half in one round trip. Upstreams that say
how much is left (`x-ratelimit-remaining-*`) are not asked again before it is there (`x-ratelimit-reset-*`).
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Mapping

from stillhouse.apply.patience import header

START = 16
"""The first window, where it may grow."""
GROWTH = 1 / 24
"""Of the window, in a round trip without a refusal; at least 1 request. In the long run about this share is refused."""
LONGEST_HOLD = 60.0
"""Seconds; an upstream that asks for more patience than this is asked after it all the same."""
CHANCE = 1 / 16
"""Of a window: fewer refusals in a round trip than this say nothing about its size, and do not end the doubling."""
SMOOTHING = 0.1
"""Of the round trip time: the weight of the newest."""

_REMAINING, _RESET = "x-ratelimit-remaining-", "x-ratelimit-reset-"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class Limit:
    """The turns of one upstream, given out in the order they were asked for. Time is the event loop's."""

    def __init__(self, most: int, *, adaptive: bool = True) -> None:
        self.most = max(1, most)
        self.window = float(min(START, self.most) if adaptive else self.most)
        """How many may be under way; rounded down."""
        self.under_way = 0
        self.refused = 0
        self._adaptive = adaptive
        self._doubling = True
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._held_until = 0.0
        self._round_trip = 0.0
        self._round_began, self._floor = float("-inf"), 1.0
        self._round_refused = 0
        self._alarm: asyncio.TimerHandle | None = None

    async def turn(self) -> float:
        """Wait until one more may be sent; returns the time. Every turn is given back with `answered`, `refuse` or `left`."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._give()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.left()
            raise
        return _now()

    def answered(self, since: float, headers: Mapping[str, str]) -> None:
        """A turn that began at `since` ended well."""
        self._hold(headers, since)
        self._round_trip += (_now() - since - self._round_trip) * (SMOOTHING if self._round_trip else 1.0)
        full = self.under_way >= int(self.window)
        if self._adaptive and full:
            step = 1.0 if self._doubling else max(1.0 / self.window, GROWTH)
            self.window = min(float(self.most), self.window + step)
        self.left()

    def refuse(self, headers: Mapping[str, str]) -> None:
        """A turn ended in a refusal that fewer requests at a time may have spared: 429, 5xx, a timeout, a broken connection."""
        self.refused += 1
        self._hold(headers, _now())
        if self._adaptive:
            if _now() - self._round_began >= self._round_trip:
                self._round_began, self._floor, self._round_refused = _now(), self.window / 2, 0
            self._round_refused += 1
            self.window = max(1.0, self._floor, self.window - 1)
            few = self._round_refused <= max(1.0, self.window * CHANCE)
            self._doubling = self.window == 1.0 or (self._doubling and few)
        self.left()

    def left(self) -> None:
        """A turn ended in a way that says nothing about load."""
        self.under_way -= 1
        self._give()

    def _hold(self, headers: Mapping[str, str], said: float) -> None:
        """`said`: when the other side counted, as far as we know. Most count a request when it comes, not when it is answered."""
        seconds = hold_seconds(headers)
        if seconds > 0:
            self._held_until = max(self._held_until, said + min(seconds, LONGEST_HOLD))

    def _give(self) -> None:
        """Let those go who may."""
        held = self._held_until - _now()
        if held > 0:
            self._call_at(self._held_until)
            return
        while self._waiting and self.under_way < int(self.window):
            turn = self._waiting.popleft()
            if not turn.done():
                self.under_way += 1
                turn.set_result(None)

    def _call_at(self, time: float) -> None:
        if self._waiting and (self._alarm is None or self._alarm.cancelled() or self._alarm.when() < time):
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = asyncio.get_running_loop().call_at(time, self._wake)

    def _wake(self) -> None:
        self._alarm = None
        self._give()


def hold_seconds(headers: Mapping[str, str]) -> float:
    """How long an upstream that says that nothing is left of some limit wants to be left alone; 0 while something is."""
    waits = [0.0]
    for name, value in headers.items():
        lower = name.lower()
        if lower.startswith(_REMAINING) and value.strip().isascii() and value.strip().isdigit() and int(value) == 0:
            waits.append(seconds_of(header(headers, _RESET + lower.removeprefix(_REMAINING))))
    return max(waits)


def seconds_of(duration: str) -> float:
    """Seconds of `20ms`, `1s`, `6m0s`, `1h2m3.5s` or `2.5`; 0 for anything else."""
    parts = _DURATION.findall(duration)
    if parts and "".join(number + unit for number, unit in parts) == duration:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return float(duration) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", duration) else 0.0


def _now() -> float:
    return asyncio.get_running_loop().time()

"""When a request that failed is asked again, and how long after: what may pass by itself is retried, what cannot is not.

Holds no loop: `asking` owns it. Waiting times are exponential with full jitter (Brooker, "Exponential Backoff and Jitter", AWS
Architecture Blog, 2015), because clients that wait alike come back alike. A server's own `retry-after` is the least that is
waited.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from stillhouse.errors import OverloadedError, StillhouseError, UpstreamError

PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may pass by themselves."""


@dataclass(frozen=True)
class Patience:
    """How often, and how long."""

    attempts: int = 5
    """Times a request is asked at most, the first included."""
    first_wait: float = 0.5
    """Seconds; the bound doubles with every attempt."""
    longest_wait: float = 30.0
    """Seconds. A `retry-after` beyond it means that waiting is no use here: the request counts as failed."""
    jitter: Callable[[], float] = random.random
    """From 0 to 1."""
    now: Callable[[], float] = time.time
    """Seconds since the epoch: for a `retry-after` that is a date."""

    def wait(self, error: StillhouseError, attempt: int) -> float | None:
        """Seconds to wait after `attempt` (from 1) failed with `error`; None when it is not to be asked again."""
        if attempt >= self.attempts or not may_pass(error):
            return None
        told = _told(error, self.now())
        if told > self.longest_wait:
            return None
        return max(told, self.jitter() * min(self.longest_wait, self.first_wait * 2.0 ** (attempt - 1)))


def may_pass(error: StillhouseError) -> bool:
    """Whether asking again may help: overload, timeouts, broken connections and streams, 408, 409, 425, 429 and 5xx.

    Not when the other side says `x-should-retry: false`: somebody has retried already.
    """
    if not isinstance(error, UpstreamError):
        return isinstance(error, OverloadedError)
    if _header(error, "x-should-retry").lower() == "false":
        return False
    return error.status is None or error.status in PASSING or error.status >= 500


def _told(error: StillhouseError, now: float) -> float:
    """Seconds that the other side asked to wait (RFC 9110, 10.2.3: a number or a date); 0 when it did not say."""
    if isinstance(error, OverloadedError):
        return max(0.0, error.retry_after)
    value = _header(error, "retry-after") if isinstance(error, UpstreamError) else ""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError, OSError):  # no date, or one that this platform cannot count
        return 0.0


def _header(error: UpstreamError, name: str) -> str:
    return next((value.strip() for key, value in error.headers.items() if key.lower() == name), "")


Sleep = Callable[[float], Awaitable[None]]

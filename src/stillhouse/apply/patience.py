"""When a request that failed is asked again, and how long after: what may pass by itself is retried, what cannot is not.

Holds no loop: `asking` owns it. Waiting times are exponential with full jitter (Brooker, "Exponential Backoff and Jitter", AWS
Architecture Blog, 2015), because clients that wait alike come back alike. A server's own `retry-after` is the least that is
waited.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from stillhouse.apply.failures import kind_of
from stillhouse.errors import OverloadedError, StillhouseError, UpstreamError

PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may pass by themselves."""


@dataclass(frozen=True)
class Patience:
    """How often, and how long."""

    attempts: int = 5
    """Times a request may fail, the first included, before it is given up."""
    throttles: int = 30
    """Times it may be told to come back later (429, a full queue) besides: that says nothing against the request."""
    first_wait: float = 0.5
    """Seconds; the bound doubles with every attempt."""
    longest_wait: float = 30.0
    """Seconds. A `retry-after` beyond it means that waiting is no use here: the request counts as failed."""
    jitter: Callable[[], float] = random.random
    """From 0 to 1."""
    now: Callable[[], float] = time.time
    """Seconds since the epoch: for a `retry-after` that is a date."""

    def wait(self, error: StillhouseError, attempt: int) -> float | None:
        """Seconds to wait after `error`, the request's `attempt`-th (from 1) of its sort: throttled or failed.

        None when it is not to be asked again.
        """
        most = self.throttles if kind_of(error) == "throttled" else self.attempts
        if attempt >= most or not may_pass(error):
            return None
        told = _told(error, self.now())
        if told > self.longest_wait:
            return None
        return max(told, self.jitter() * min(self.longest_wait, self.first_wait * 2.0 ** (attempt - 1)))


def may_pass(error: StillhouseError) -> bool:
    """Whether asking again may help: overload, timeouts, broken connections and streams, 408, 409, 425, 429 and 5xx.

    Not when the other side says `x-should-retry: false`: somebody has retried already. Nor when a quota is used up.
    """
    if not isinstance(error, UpstreamError):
        return isinstance(error, OverloadedError)
    if header(error.headers, "x-should-retry").lower() == "false" or kind_of(error) == "quota":
        return False
    return error.status is None or error.status in PASSING or error.status >= 500


def _told(error: StillhouseError, now: float) -> float:
    """Seconds that the other side asked to wait; 0 when it did not say.

    `retry-after-ms` is OpenAI's, and more exact than the `retry-after` beside it (RFC 9110, 10.2.3: a number or a date).
    """
    if isinstance(error, OverloadedError):
        return max(0.0, error.retry_after)
    headers: Mapping[str, str] = error.headers if isinstance(error, UpstreamError) else {}
    exact, value = header(headers, "retry-after-ms"), header(headers, "retry-after")
    if exact.isascii() and exact.replace(".", "", 1).isdigit():
        return float(exact) / 1000
    if value.isascii() and value.replace(".", "", 1).isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError, OSError):  # no date, or one that this platform cannot count
        return 0.0


def header(headers: Mapping[str, str], name: str) -> str:
    """A header's value, whatever the case of its name; '' when it is absent."""
    return next((value.strip() for key, value in headers.items() if key.lower() == name), "")


Sleep = Callable[[float], Awaitable[None]]

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.apply import Patience
from stillhouse.errors import OverloadedError, StreamBrokenError, UpstreamError, UpstreamTimeoutError

NOW = 1_795_000_000.0


def failed(status: int | None = 503, **headers: str) -> UpstreamError:
    return UpstreamError("no", status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("error", "again"),
    [
        *[(failed(status), True) for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)],
        *[(failed(status), False) for status in (400, 401, 403, 404, 413, 422)],
        (failed(None), True),
        (UpstreamTimeoutError("slow"), True),
        (StreamBrokenError("cut"), True),
        (OverloadedError("full", retry_after=1), True),
        (failed(503, X_Should_Retry="false"), False),
        (failed(503, x_should_retry="true"), True),
    ],
)
def test_what_may_pass(error: UpstreamError, again: bool) -> None:
    assert (Patience().wait(error, 1) is not None) is again


@given(st.integers(1, 8), st.floats(0, 1))
def test_waiting_doubles_up_to_a_bound_and_is_jittered_over_the_whole_of_it(attempt: int, luck: float) -> None:
    patience = Patience(attempts=9, first_wait=1, longest_wait=10, jitter=lambda: luck)
    assert patience.wait(failed(), attempt) == luck * min(10, 2 ** (attempt - 1))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("12", 12.0),
        ("Wed, 18 Nov 2026 17:46:45 GMT", 5.0),
        ("Wed, 18 Nov 2020 17:46:45 GMT", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        ("-3", 0.0),
        ("１２", 0.0),
    ],
)
def test_what_the_other_side_says_is_the_least_that_is_waited(value: str, seconds: float) -> None:
    now = 1_795_024_000.0
    assert Patience(jitter=lambda: 0, now=lambda: now).wait(failed(429, Retry_After=value), 1) == seconds


@given(st.text(max_size=30))
def test_any_retry_after_is_survived(value: str) -> None:
    wait = Patience(jitter=lambda: 0, now=lambda: NOW).wait(failed(429, retry_after=value), 1)
    assert wait is None or wait >= 0


def test_a_wait_beyond_the_bound_is_a_failure_now() -> None:
    assert Patience(longest_wait=30).wait(failed(429, retry_after="3600"), 1) is None

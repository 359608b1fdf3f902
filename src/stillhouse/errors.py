"""Every error Stillhouse raises on purpose, in one tree.

    StillhouseError
    |-- UsageError              the caller asked for something impossible (exit 2, HTTP 400)
    |   |-- RecipeError         a recipe that cannot be run as written
    |   |-- ContextLengthError  a prompt longer than the model reads
    |   |-- InvalidParameterError a parameter of a request that cannot have its value; carries `param`
    |   `-- FormatError         a foreign file that cannot be read
    |-- NotFoundError           no such thing (exit 5, HTTP 404)
    |-- ConflictError           it exists already, or is in use (exit 5, HTTP 409)
    |-- PermissionRefusedError  a key is missing, wrong, or terms of service say no (exit 4, HTTP 401/403)
    |-- MissingExtraError       an optional dependency is not installed (exit 2)
    |-- StoreError              the store cannot keep what it was given (exit 69, HTTP 503)
    |   |-- StoreBusyError      another process holds the database (exit 75)
    |   |-- CaptureLostError    an answer came and could not be kept (HTTP 502)
    |   `-- SchemaTooNewError   a newer Stillhouse wrote this database (exit 2)
    |-- UpstreamError           a model did not answer; carries what it said instead
    |   |-- UpstreamTimeoutError
    |   `-- StreamBrokenError   a stream began and did not end as it should
    |-- OverloadedError         a bounded queue is full; carries `retry_after` (HTTP 429)
    `-- TrainingError           a run had to stop (NaN, no supervised token, ...) (exit 1)

A message says what was got, what is allowed, and what to type. Foreign errors are mapped at the border with `from exc`.
"""

from __future__ import annotations

from collections.abc import Mapping


class StillhouseError(Exception):
    """Base of the tree."""

    exit_code = 1
    http_status = 500
    code = "internal_error"


class UsageError(StillhouseError):
    """The caller asked for something impossible."""

    exit_code = 2
    http_status = 400
    code = "invalid_request"


class RecipeError(UsageError):
    """A recipe that cannot be run as written."""

    code = "invalid_recipe"


class ContextLengthError(UsageError):
    """A prompt longer than the model reads."""

    code = "context_length_exceeded"


class InvalidParameterError(UsageError):
    """A parameter of a request has a value that it cannot have; `param` is its name, as a path into the body."""

    code = "invalid_value"

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


class FormatError(UsageError):
    """A foreign file that cannot be read."""

    code = "invalid_file"


class NotFoundError(StillhouseError):
    """No such completion, dataset, run, model, ..."""

    exit_code = 5
    http_status = 404
    code = "not_found"


class ConflictError(StillhouseError):
    """It exists already, or is in use."""

    exit_code = 5
    http_status = 409
    code = "conflict"


class PermissionRefusedError(StillhouseError):
    """A key is missing or wrong, or the teacher's terms forbid what was asked."""

    exit_code = 4
    http_status = 403
    code = "permission_refused"


class MissingExtraError(StillhouseError):
    """An optional dependency is not installed."""

    exit_code = 2
    http_status = 501
    code = "missing_extra"

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(f"{what} needs '{package}'. Install it with: pip install 'stillhouse[{extra}]'")


class StoreError(StillhouseError):
    """The store cannot keep what it was given."""

    exit_code = 69
    http_status = 503
    code = "capture_unavailable"


class StoreBusyError(StoreError):
    """Another process holds the database."""

    exit_code = 75
    code = "store_busy"


class CaptureLostError(StoreError):
    """The upstream answered, and its answer could not be kept: asking again would be paid twice."""

    http_status = 502
    code = "capture_lost"


class SchemaTooNewError(StoreError):
    """The database was written by a newer Stillhouse."""

    exit_code = 2
    code = "schema_too_new"


class UpstreamError(StillhouseError):
    """A model did not answer the request; `status`, `body` and `headers` are what it said, to be passed on as they are.

    `attempts` is how often it was asked: above 1 the client must not retry on top (`x-should-retry: false`).
    """

    http_status = 502
    code = "upstream_error"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        attempts: int = 1,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.headers = dict(headers or {})
        self.attempts = attempts


class UpstreamTimeoutError(UpstreamError):
    """Connect, first byte, or the gap between two chunks took too long."""

    http_status = 504
    code = "upstream_timeout"


class StreamBrokenError(UpstreamError):
    """A stream began and then broke off: a reset, a stall, an unexpected end."""

    code = "upstream_stream_broken"


class OverloadedError(StillhouseError):
    """A bounded queue is full; try again after `retry_after` seconds."""

    exit_code = 75
    http_status = 429
    code = "overloaded"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TrainingError(StillhouseError):
    """A training run had to stop; the message names the cause and the last good checkpoint."""

    code = "training_stopped"

"""What is said where a job cannot be: of a request that is refused, of a job that has failed."""

from __future__ import annotations

from stillhouse.errors import StillhouseError, UsageError


class RefusedError(UsageError):
    """A request that cannot be followed; `param` is what is wrong with it."""

    def __init__(self, message: str, param: str | None, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class JobFailedError(StillhouseError):
    """A job that cannot go on, in the words that the API tells it."""

    def __init__(self, message: str, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param

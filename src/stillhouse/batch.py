"""A batch: a file of requests that are answered in their own time, within a day, and the files of their answers."""

from __future__ import annotations

from typing import Any, Literal

from stillhouse.records import Record

BatchStatus = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
ENDED: frozenset[BatchStatus] = frozenset({"failed", "completed", "expired", "cancelled"})
OPEN: tuple[BatchStatus, ...] = ("validating", "in_progress", "finalizing", "cancelling")
WINDOW_SECONDS = 86_400
"""The one completion window there is: 24 hours."""


class BatchProblem(Record):
    """Why a batch could not begin: mostly a line of its file."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class BatchUsage(Record):
    """Tokens of all answers together, as the answers give them."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: BatchUsage) -> BatchUsage:
        mine, others = self.model_dump(), other.model_dump()
        return BatchUsage(**{name: mine[name] + others[name] for name in mine})

    @classmethod
    def of(cls, body: dict[str, Any]) -> BatchUsage:
        """What an answer's `usage` says, in the words of either API (`prompt_tokens`, `input_tokens`)."""
        usage = body.get("usage")
        if not isinstance(usage, dict):
            return cls()
        return cls(
            input_tokens=_count(usage, "prompt_tokens") or _count(usage, "input_tokens"),
            cached_tokens=_detail(usage, "cached_tokens"),
            output_tokens=_count(usage, "completion_tokens") or _count(usage, "output_tokens"),
            reasoning_tokens=_detail(usage, "reasoning_tokens"),
        )


class Batch(Record):
    id: str
    endpoint: str
    input_file_id: str
    created_at: int
    """Seconds since the epoch, like every other time here."""
    expires_at: int
    status: BatchStatus = "validating"
    metadata: dict[str, str] = {}
    model: str | None = None
    """The one model that all requests name; None where they name several."""
    total: int = 0
    completed: int = 0
    failed: int = 0
    usage: BatchUsage = BatchUsage()
    errors: tuple[BatchProblem, ...] = ()
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None

    run: str
    """The run that does the work."""
    sha256: str
    """The input's bytes, which stay until the batch has ended though the file be deleted; empty then."""
    output_name: str
    """What the file of answers will be called, if there are any."""
    error_name: str
    """What the file of failures will be called, if there are any."""
    output_seconds: int | None = None
    """How long those files will be there."""

    @property
    def body(self) -> dict[str, Any]:
        """The batch as the SDK reads it."""
        problems = [problem.model_dump() for problem in self.errors]
        usage = self.usage
        return {
            **self.model_dump(mode="json", exclude=_HIDDEN),
            "object": "batch",
            "completion_window": "24h",
            "errors": {"object": "list", "data": problems} if problems else None,
            "request_counts": {"total": self.total, "completed": self.completed, "failed": self.failed},
            "usage": {
                "input_tokens": usage.input_tokens,
                "input_tokens_details": {"cached_tokens": usage.cached_tokens},
                "output_tokens": usage.output_tokens,
                "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
                "total_tokens": usage.input_tokens + usage.output_tokens,
            },
            "stillhouse": {"run": self.run},
        }


_HIDDEN = {
    *("run", "sha256", "output_name", "error_name", "output_seconds"),
    *("total", "completed", "failed", "usage", "errors"),  # in the shape of the API instead
}


def _count(values: dict[str, Any], name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _detail(usage: dict[str, Any], name: str) -> int:
    parts = [part for key, part in usage.items() if key.endswith("_details") and isinstance(part, dict)]
    return max((_count(part, name) for part in parts), default=0)

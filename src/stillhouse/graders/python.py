"""Grader `python`: a function that its author wrote, `grade(sample, item) -> float`, run in the sandbox and nowhere else."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from stillhouse.errors import UsageError
from stillhouse.grade import Grade, GradingError
from stillhouse.graders.base import HALF, GraderConfig, Means, Threshold
from stillhouse.sample import Item, Sample
from stillhouse.sandbox import CodeError, ConfinementError

LONGEST_SOURCE = 256 * 1024
"""Bytes."""
FUNCTION = "grade"
CHECK = "def check(source):\n    compile(source, '<grader>', 'exec')\n    return 1\n"


class PythonConfig(GraderConfig):
    type: Literal["python"]
    source: str
    image_tag: str | None = Field(default=None)
    """Kept as it was sent. There is one environment: the standard library, rapidfuzz, and numpy where it is installed."""
    pass_threshold: Threshold = None

    @field_validator("source")
    @classmethod
    def _is_no_novel(cls, value: str) -> str:
        if len(value.encode(errors="surrogatepass")) > LONGEST_SOURCE:
            raise ValueError(f"the source is longer than {LONGEST_SOURCE // 1024} kB")
        if FUNCTION not in value:
            raise ValueError(f"the source defines no function {FUNCTION}(sample, item)")
        return value


class Python:
    """The function's number; passes from the threshold on."""

    Config = PythonConfig

    def __init__(self, config: PythonConfig, means: Means) -> None:
        if means.sandbox is None:
            raise UsageError("Graders of type 'python' are switched off on this server (STILLHOUSE_PYTHON_GRADERS=false).")
        self.name = config.name
        self._sandbox = means.sandbox
        self._source = config.source
        self._least = HALF if config.pass_threshold is None else config.pass_threshold

    async def grade(self, item: Item, sample: Sample) -> Grade:
        try:
            score = await self._sandbox.call(self._source, FUNCTION, [dict(sample), dict(item)])
        except CodeError as exc:
            raise GradingError(str(exc), "python_grader_runtime_error") from exc
        except ConfinementError as exc:
            raise GradingError(str(exc), "python_grader_server_error") from exc
        reason = "" if score >= self._least else f"{FUNCTION}() gave {score:g}, {self._least:g} is needed"
        return Grade(score=score, passed=score >= self._least, reason=reason)

    async def check(self) -> None:
        """Whether the source is Python, read where it would run: a hostile one may take long.

        Raises UsageError, ConfinementError.
        """
        try:
            await self._sandbox.call(CHECK, "check", [self._source])
        except CodeError as exc:
            raise UsageError(f"The source cannot be compiled: {exc}") from exc

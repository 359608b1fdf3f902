"""Labelling function `python`: code that its author wrote, `label(text) -> label or None`, run in the sandbox alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from stillhouse.errors import UsageError
from stillhouse.labelling_functions.base import FunctionConfig, Means, Said
from stillhouse.sandbox import CodeError

FUNCTION = "label"
LONGEST_SOURCE = 256 * 1024
"""Bytes."""


class PythonConfig(FunctionConfig):
    type: Literal["python"]
    source: str = ""
    """The code itself,"""
    file: str = ""
    """or the file that it stands in."""

    @model_validator(mode="after")
    def _has_one_source(self) -> PythonConfig:
        if bool(self.source) == bool(self.file):
            raise ValueError("it needs its code in `source`, or the name of a file with it in `file`")
        return self


class Python:
    """What the code says; what it raises, and what is no label, is a problem of that text."""

    Config = PythonConfig

    def __init__(self, config: PythonConfig, means: Means) -> None:
        """Raises UsageError where code is not run here, or none is there."""
        if means.sandbox is None:
            raise UsageError(f"'{config.name}': users' code is switched off here (STILLHOUSE_PYTHON_GRADERS=false).")
        self.name, self.weight = config.name, config.weight
        self._sandbox, self._labels = means.sandbox, set(means.labels)
        self._source = config.source or _read(means.folder / config.file, config.name)
        if FUNCTION not in self._source or len(self._source.encode(errors="replace")) > LONGEST_SOURCE:
            raise UsageError(f"'{config.name}': its code must define {FUNCTION}(text), in {LONGEST_SOURCE // 1024} kB at most.")

    async def say(self, texts: Sequence[str]) -> list[Said]:
        """Raises ConfinementError, and UsageError for code that does not even begin."""
        try:
            found = await self._sandbox.each(self._source, FUNCTION, texts)
        except CodeError as exc:
            raise UsageError(f"The labelling function '{self.name}' cannot be used: {exc}") from exc
        return [self._said(value, problem) for value, problem in found]

    def _said(self, value: str | None, problem: str) -> Said:
        if value is not None and value not in self._labels:
            return Said(None, f"it said {value!r}, which is no label")
        return Said(value, problem)


def _read(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as exc:
        raise UsageError(f"'{name}': its code cannot be read from {path}: {exc}.") from exc

"""Configurations -> graders: the record of its kind, checked, and the grader it describes, built from it and what it may use.

A kind is a class in the table. With a `Config` (a `GraderConfig`) it is built as `Kind(config, means)`; without one it needs no
configuration and is built without arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from stillhouse.errors import InvalidParameterError
from stillhouse.grade import Grader
from stillhouse.graders import GRADERS
from stillhouse.graders.base import GraderConfig, Means

API_KINDS = ("string_check", "text_similarity", "score_model", "label_model", "python", "multi")
"""The kinds of OpenAI's API."""


class GraderConfigError(InvalidParameterError):
    """A grader's configuration that is wrong; `param` is where, e.g. `testing_criteria.0.operation`."""

    code = "invalid_grader"


def parse_config(value: Any, where: str = "grader") -> GraderConfig:
    """A configuration as it was sent -> the record of its kind. `where` it stood is for errors. Raises GraderConfigError."""
    if not isinstance(value, Mapping):
        raise GraderConfigError(f"A grader is an object with a 'type' and a 'name', got {type(value).__name__}.", where)
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in GRADERS.names():
        there = ", ".join(GRADERS.names())
        raise GraderConfigError(f"There is no grader of type {repr(kind)[:80]}. There are: {there}.", f"{where}.type")
    config: type[GraderConfig] = getattr(GRADERS.resolve(kind), "Config", GraderConfig)
    try:
        return config.model_validate(value)
    except ValidationError as exc:
        problem = exc.errors(include_url=False)[0]
        place = ".".join([where, *(str(step) for step in problem["loc"])])
        got = "" if problem["type"] in ("missing", "value_error") else f" (got {repr(problem['input'])[:80]})"
        raise GraderConfigError(f"'{place}': {problem['msg']}{got}.", place) from exc


def build(config: GraderConfig | Mapping[str, Any], means: Means | None = None) -> Grader:
    """The grader that a configuration describes. Raises GraderConfigError, NotFoundError for a judge that nobody knows."""
    record = config if isinstance(config, GraderConfig) else parse_config(config)
    kind = GRADERS.resolve(record.type)
    grader: Grader = kind(record, means or Means()) if hasattr(kind, "Config") else kind()
    return grader


async def check(grader: Grader) -> None:
    """What can be found wrong with a grader before it grades: source that is no Python. Raises UsageError, ConfinementError."""
    checking = getattr(grader, "check", None)
    if checking is not None:
        await checking()

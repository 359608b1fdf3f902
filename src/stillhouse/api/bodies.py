"""Request bodies: bytes -> a JSON object, or the record that a resource expects; what is wrong is said in OpenAI's envelope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from stillhouse.errors import InvalidParameterError, UsageError

M = TypeVar("M", bound=BaseModel)


def json_object(raw: bytes) -> dict[str, Any]:
    """A body that must be a JSON object. Raises UsageError."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise UsageError(f"The request body is not valid JSON: {exc}.") from exc
    if not isinstance(body, dict):
        raise UsageError(f"The request body must be a JSON object, got {type(body).__name__}.")
    return body


def parse_body(model: type[M], raw: bytes) -> M:
    """The body as `model`; an empty one counts as `{}`. Raises UsageError, InvalidParameterError for the first wrong field."""
    return parse_value(model, json_object(raw or b"{}"))


def parse_value(model: type[M], value: Any) -> M:
    """A value that came in a body, or on a line of a file, as `model`. Raises InvalidParameterError for the first wrong field."""
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        problem = exc.errors(include_url=False)[0]
        where = ".".join(str(step) for step in _path(value, problem["loc"], missing=problem["type"] == "missing"))
        got = "" if problem["type"] == "missing" else f" (got {repr(problem['input'])[:80]})"
        raise InvalidParameterError(f"'{where or 'body'}': {problem['msg']}{got}.", where or "body") from exc


def _path(value: Any, steps: Sequence[str | int], *, missing: bool) -> list[str | int]:
    """The steps that lead somewhere in `value`, and the last one where it is missing there: not the names of a union's kinds."""
    path: list[str | int] = []
    step: Any
    for step in steps:
        if isinstance(value, dict) and step in value or isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            continue
        path.append(step)
    return [*path, steps[-1]] if missing and steps else path

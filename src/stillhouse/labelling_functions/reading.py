"""A TOML file of labelling functions, `[[function]]` each, -> the functions."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stillhouse.errors import NotFoundError, UsageError
from stillhouse.labelling_functions import LABELLING_FUNCTIONS
from stillhouse.labelling_functions.base import FunctionConfig, LabellingFunction, Means
from stillhouse.records import problems_of
from stillhouse.sandbox import Sandbox


def read_functions(path: Path, labels: tuple[str, ...], sandbox: Sandbox | None) -> list[LabellingFunction]:
    """Every function of the file. Raises NotFoundError, UsageError."""
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.") from None
    except (OSError, ValueError) as exc:
        raise UsageError(f"{path} is no TOML file: {exc}.") from exc
    tables = value.get("function")
    if set(value) != {"function"} or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{path} holds functions, each under a line [[function]], and nothing else; got {', '.join(value)}.")
    means = Means(labels, path.parent, sandbox)
    functions = [build(table, means, f"{path}, function {number}") for number, table in enumerate(tables, start=1)]
    twice = [name for name, count in Counter(function.name for function in functions).items() if count > 1]
    if twice:
        raise UsageError(f"{path}: two functions are called '{twice[0]}'.")
    return functions


def build(table: dict[str, Any], means: Means, where: str) -> LabellingFunction:
    """The function that a table describes. `where` it stands is for errors. Raises UsageError."""
    kind = table.get("type")
    if not isinstance(kind, str) or kind not in LABELLING_FUNCTIONS.names():
        there = ", ".join(LABELLING_FUNCTIONS.names())
        raise UsageError(f"{where}: there is no kind of labelling function {kind!r}. type is one of: {there}.")
    made: Any = LABELLING_FUNCTIONS.resolve(kind)
    try:
        config: FunctionConfig = made.Config.model_validate(table)
    except ValidationError as exc:
        raise UsageError(f"{where}: {problems_of(exc)}.") from exc
    label = getattr(config, "label", None)
    if label is not None and label not in means.labels:
        raise UsageError(f"{where}: '{label}' is none of the {len(means.labels)} labels.")
    function: LabellingFunction = made(config, means)
    return function

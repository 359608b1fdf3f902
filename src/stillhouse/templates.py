"""Texts with variables: `{{item.question}}`, `{{sample.output_json.total}}`, `{{item.options[0]}}`, filled in once.

The language has variables and nothing else: no expressions, no calls, no loops. What a variable holds is never looked at again,
so that braces in an answer mean nothing. Strings are put in as they are, everything else as JSON. Double braces around what is
no variable (`{{"a": 1}}`) are text; a variable of an unknown namespace or a mistyped one is an error, found by parsing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from stillhouse.errors import UsageError

NAMESPACES = ("item", "sample")

_BRACES = re.compile(r"\{\{([^{}]{1,512})\}\}")
_NAME = re.compile(r"[^\W\d][\w-]*")
_PATH = re.compile(r"[^\W\d][\w-]*(?:\s*[.\[].*)?", re.DOTALL)
_STEP = re.compile(r"\.([\w-]+)|\[(-?\d{1,9})\]|\[\"([^\"]*)\"\]|\['([^']*)'\]")
_OPENED = re.compile(rf"\{{\{{\s*(?:{'|'.join(NAMESPACES)})\b")

Wrap = Callable[["Variable", str], str]
"""Called with a variable and its text; what it returns is put in."""


class TemplateError(UsageError):
    """A text whose variables cannot be read."""

    code = "invalid_template"


class VariableError(UsageError):
    """A variable that the item or the sample does not have."""

    code = "invalid_variable"

    def __init__(self, message: str, variable: Variable) -> None:
        super().__init__(message)
        self.variable = variable


@dataclass(frozen=True)
class Variable:
    """`item.options[0]`: a namespace, and the steps to take from there."""

    namespace: str
    steps: tuple[str | int, ...]
    written: str

    @classmethod
    def parse(cls, path: str) -> Variable:
        """Raises TemplateError."""
        name = _NAME.match(path)
        if name is None or name[0] not in NAMESPACES:
            raise TemplateError(
                f"'{_short(path)}' is no variable: they begin with {' or '.join(NAMESPACES)}, e.g. item.question."
            )
        steps: list[str | int] = []
        at = name.end()
        while at < len(path):
            step = _STEP.match(path, at)
            if step is None:
                raise TemplateError(
                    f"'{_short(path)}' cannot be read from '{_short(path[at:])}' on. Write item.a, item.a.b, item.a[0]."
                )
            plain, index, *quoted = step.groups()
            steps.append(int(index) if index is not None else next(each for each in (plain, *quoted) if each is not None))
            at = step.end()
        return cls(name[0], tuple(steps), path)

    def value(self, scope: Mapping[str, Any]) -> Any:
        """What it stands for. Raises VariableError."""
        value = scope.get(self.namespace, {})
        for step in self.steps:
            try:
                value = _within(value, step)
            except (LookupError, ValueError):
                there = (
                    f"there is {', '.join(map(str, value)) or 'nothing'}" if isinstance(value, Mapping) else "nothing is in it"
                )
                raise VariableError(f"{{{{{self.written}}}}}: there is no '{step}'; {_short(there)}.", self) from None
        return value


@dataclass(frozen=True)
class Template:
    """A text, cut at its variables."""

    parts: tuple[str | Variable, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Raises TemplateError."""
        return _parse(text)

    @property
    def variables(self) -> tuple[Variable, ...]:
        return tuple(part for part in self.parts if isinstance(part, Variable))

    def render(self, scope: Mapping[str, Any], wrap: Wrap | None = None) -> str:
        """The text with every variable's value in its place. Raises VariableError."""
        return "".join(part if isinstance(part, str) else _filled(part, scope, wrap) for part in self.parts)


def text_of(value: Any) -> str:
    """A value as it stands in a text: strings as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def fill(value: Any, scope: Mapping[str, Any], wrap: Wrap | None = None) -> Any:
    """The same JSON value with every string in it rendered (keys are left alone). Raises TemplateError, VariableError."""
    if isinstance(value, str):
        return Template.parse(value).render(scope, wrap)
    if isinstance(value, Mapping):
        return {key: fill(each, scope, wrap) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [fill(each, scope, wrap) for each in value]
    return value


def variables_of(value: Any) -> list[Variable]:
    """The variables in every string of a JSON value. Raises TemplateError."""
    if isinstance(value, str):
        return list(Template.parse(value).variables)
    if isinstance(value, Mapping):
        return variables_of(list(value.values()))
    return [variable for each in value for variable in variables_of(each)] if isinstance(value, list | tuple) else []


@lru_cache(maxsize=1024)  # the same few templates, row after row
def _parse(text: str) -> Template:
    parts: list[str | Variable] = []
    at = 0
    for braces in _BRACES.finditer(text):
        path = braces[1].strip()
        if _PATH.fullmatch(path):
            parts += [text[at : braces.start()], Variable.parse(path)]
            at = braces.end()
    parts.append(text[at:])
    for part in parts:
        opened = _OPENED.search(part) if isinstance(part, str) else None
        if opened is not None and isinstance(part, str):
            raise TemplateError(
                f"'{_short(part[opened.start() :])}' is a variable that does not end as it should: write {{{{item.NAME}}}}."
            )
    return Template(tuple(part for part in parts if part != ""))


def _within(value: Any, step: str | int) -> Any:
    """Raises LookupError, ValueError."""
    if isinstance(value, list | tuple):
        return value[int(step)]
    if isinstance(value, Mapping):
        return value[step]
    raise LookupError(step)


def _filled(variable: Variable, scope: Mapping[str, Any], wrap: Wrap | None) -> str:
    text = text_of(variable.value(scope))
    return text if wrap is None else wrap(variable, text)


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."

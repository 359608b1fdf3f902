"""Grader `multi`: several graders, and a formula over their scores (`stillhouse.formula`)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import field_validator, model_validator

from stillhouse.formula import FUNCTIONS, Formula, FormulaError
from stillhouse.grade import Grade, Grader, GradingError, TokenUsage, added
from stillhouse.graders.base import HALF, GraderConfig, Means, Threshold
from stillhouse.graders.building import GraderConfigError, build, check, parse_config
from stillhouse.sample import Item, Sample

KINDS = ("string_check", "text_similarity", "score_model", "label_model", "python")
"""What may be combined."""


class MultiConfig(GraderConfig):
    type: Literal["multi"]
    graders: Any
    """One grader's configuration, a list of them, or an object of them by name: all three are in use."""
    calculate_output: str
    pass_threshold: Threshold = None

    @field_validator("graders")
    @classmethod
    def _graders(cls, value: Any) -> Any:
        named = _named(value)
        if not named:
            raise ValueError("there is no grader in it")
        for name, each in named:
            if not name.isidentifier() or name in FUNCTIONS:
                raise ValueError(f"{name!r} cannot stand in a formula: names are letters, digits and _, and no function's name")
            if not isinstance(each, Mapping) or each.get("type") not in KINDS:
                raise ValueError(f"'{name}': a multi grader combines {', '.join(KINDS)}")
            try:
                parse_config({"name": name, **each})
            except GraderConfigError as exc:
                raise ValueError(f"'{name}': {exc}") from exc
        if len({name for name, _ in named}) < len(named):
            raise ValueError("two of them have the same name")
        return value

    @model_validator(mode="after")
    def _formula_knows_its_names(self) -> MultiConfig:
        try:
            formula = Formula.parse(self.calculate_output)
        except FormulaError as exc:
            raise ValueError(f"calculate_output: {exc}") from exc
        unknown = sorted(formula.names - {name for name, _ in _named(self.graders)})
        if unknown:
            raise ValueError(f"calculate_output: there is no grader '{unknown[0]}'")
        return self

    @property
    def parts(self) -> dict[str, GraderConfig]:
        """Name in the formula -> the grader's configuration."""
        return {name: parse_config({"name": name, **each}) for name, each in _named(self.graders)}


def with_one(grader: Mapping[str, Any]) -> dict[str, Any]:
    """A grader's configuration, of a `multi` with its first grader alone: the SDK's type has room for no more."""
    named = _named(grader.get("graders")) if grader.get("type") == "multi" else []
    if not named:
        return dict(grader)
    name, first = named[0]
    return {**grader, "graders": {"name": name, **first}}


class Multi:
    """The formula's value."""

    Config = MultiConfig

    def __init__(self, config: MultiConfig, means: Means) -> None:
        self.name = config.name
        self._formula = Formula.parse(config.calculate_output)
        self._parts: dict[str, Grader] = {name: build(part, means) for name, part in config.parts.items()}
        self._least = HALF if config.pass_threshold is None else config.pass_threshold

    async def check(self) -> None:
        """Its parts' own checks."""
        for part in self._parts.values():
            await check(part)

    async def grade(self, item: Item, sample: Sample) -> Grade:
        given = await asyncio.gather(*(_tried(part, item, sample) for part in self._parts.values()))
        grades = dict(zip(self._parts, given, strict=True))
        scores = {name: grade.score for name, grade in grades.items() if isinstance(grade, Grade)}
        usage: dict[str, TokenUsage] = {}
        for grade in given:
            usage = added(usage, grade.usage)
        for name, grade in grades.items():
            if isinstance(grade, GradingError):
                raise GradingError(f"{name}: {grade}", grade.fault, parts=scores, usage=usage) from grade
        try:
            score = self._formula.value(scores)
        except FormulaError as exc:
            raise GradingError(str(exc), "formula_parse_error", parts=scores, usage=usage) from exc
        reason = "; ".join(f"{name} {grade.score:g}" for name, grade in grades.items() if isinstance(grade, Grade))
        return Grade(score=score, passed=score >= self._least, reason=reason, parts=scores, usage=usage)


async def _tried(grader: Grader, item: Item, sample: Sample) -> Grade | GradingError:
    """One that fails does not take with it what the others cost."""
    try:
        return await grader.grade(item, sample)
    except GradingError as exc:
        return exc


def _named(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping) and isinstance(value.get("type"), str):
        value = [value]
    if isinstance(value, Mapping):
        return [(str(name), each) for name, each in value.items()]
    return (
        [(str(each.get("name", "")) if isinstance(each, Mapping) else "", each) for each in value]
        if isinstance(value, list)
        else []
    )

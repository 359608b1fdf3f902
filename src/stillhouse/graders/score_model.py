"""Grader `score_model`: a model gives a number in a range. How it is asked and kept from being talked into it is `judging`'s."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, field_validator

from stillhouse.grade import Grade
from stillhouse.graders.base import GraderConfig, Means, Threshold
from stillhouse.graders.judging import REASONING, REASONS, InputMessage, Judge, SamplingParams, Schema, judge_messages
from stillhouse.sample import Item, Sample


class ScoreModelConfig(GraderConfig):
    type: Literal["score_model"]
    model: str
    input: list[InputMessage] = Field(min_length=1)
    range: list[float] = Field(default=[0.0, 1.0], min_length=2, max_length=2)
    """Lowest and highest score."""
    sampling_params: SamplingParams | None = None
    pass_threshold: Threshold = None

    @field_validator("range")
    @classmethod
    def _rises(cls, value: list[float]) -> list[float]:
        if not all(map(math.isfinite, value)) or value[0] >= value[1]:
            raise ValueError("range is the lowest and the highest score, in this order")
        return value


class ScoreModel:
    """The judge's number; passes from the threshold on (by default the middle of the range)."""

    Config = ScoreModelConfig

    def __init__(self, config: ScoreModelConfig, means: Means) -> None:
        self.name = config.name
        self._config = config
        self._judge = Judge(means.model(config.model), config.model, config.sampling_params)
        low, high = config.range
        self._least = (low + high) / 2 if config.pass_threshold is None else config.pass_threshold
        self._schema = score_schema(low, high)

    async def grade(self, item: Item, sample: Sample) -> Grade:
        judged = await self._judge.ask(judge_messages(self._config.input, item, sample), self._schema)
        return Grade(
            score=judged.verdict,
            passed=judged.verdict >= self._least,
            reason=judged.reasoning,
            usage=judged.usage,
            details={"model": judged.model},
        )


def score_schema(low: float, high: float) -> Schema[float]:
    """A verdict that is a number from `low` to `high`."""

    def read(value: dict[str, Any]) -> float:
        score = value["score"]
        if isinstance(score, bool) or not isinstance(score, int | float) or not low <= score <= high:
            raise ValueError(f"score is no number from {low:g} to {high:g}")
        return float(score)

    return Schema(
        {REASONING: REASONS, "score": {"type": "number", "description": f"From {low:g} (worst) to {high:g} (best)."}}, read
    )

"""Grader `label_model`: a model chooses one of several labels, some of which pass."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from stillhouse.grade import Grade
from stillhouse.graders.base import GraderConfig, Means
from stillhouse.graders.judging import REASONING, REASONS, InputMessage, Judge, SamplingParams, Schema, judge_messages
from stillhouse.sample import Item, Sample


class LabelModelConfig(GraderConfig):
    type: Literal["label_model"]
    model: str
    input: list[InputMessage] = Field(min_length=1)
    labels: list[str] = Field(min_length=1)
    passing_labels: list[str]
    sampling_params: SamplingParams | None = None

    @model_validator(mode="after")
    def _labels_are_known(self) -> LabelModelConfig:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels: one of them stands there twice")
        unknown = [label for label in self.passing_labels if label not in self.labels]
        if unknown:
            raise ValueError(f"passing_labels: {unknown[0]!r} is not among the labels")
        return self


class LabelModel:
    """1 for a passing label, else 0."""

    Config = LabelModelConfig

    def __init__(self, config: LabelModelConfig, means: Means) -> None:
        self.name = config.name
        self._config = config
        self._judge = Judge(means.model(config.model), config.model, config.sampling_params)
        self._schema = label_schema(config.labels)

    async def grade(self, item: Item, sample: Sample) -> Grade:
        judged = await self._judge.ask(judge_messages(self._config.input, item, sample), self._schema)
        passed = judged.verdict in self._config.passing_labels
        return Grade(
            score=1.0 if passed else 0.0,
            passed=passed,
            reason=f"{judged.verdict}: {judged.reasoning}",
            usage=judged.usage,
            details={"label": judged.verdict, "model": judged.model},
        )


def label_schema(labels: list[str]) -> Schema[str]:
    """A verdict that is one of `labels`."""

    def read(value: dict[str, Any]) -> str:
        label = value["label"]
        if not isinstance(label, str) or label not in labels:
            raise ValueError("label is none of the labels")
        return label

    return Schema({REASONING: REASONS, "label": {"type": "string", "enum": labels}}, read)

"""Grader `rubric`: a judge marks an answer from 1 to 5 by a ready rubric. Question, reference and answer are all fenced."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator

from stillhouse.grade import Grade
from stillhouse.graders.base import GraderConfig, Means, TemplateText, Threshold, filled
from stillhouse.graders.judging import (
    REASONING,
    REASONS,
    InputMessage,
    Judge,
    SamplingParams,
    Schema,
    judge_messages,
    says_nothing,
)
from stillhouse.graders.rubrics import RUBRICS, Rubric
from stillhouse.sample import Item, Sample

MARKS = 5


class RubricConfig(GraderConfig):
    type: Literal["rubric"]
    rubric: str
    model: str
    """The judge."""
    question: TemplateText = "{{item.question}}"
    answer: TemplateText = "{{sample.output_text}}"
    sampling_params: SamplingParams | None = None
    pass_threshold: Threshold = None
    """Of the score, which is (mark - 1) / 4; None for the rubric's own."""

    @field_validator("rubric")
    @classmethod
    def _is_there(cls, value: str) -> str:
        if value not in RUBRICS:
            raise ValueError(f"there is no rubric {value!r}; there are: {', '.join(RUBRICS)}")
        return value


class RubricGrader:
    """(mark - 1) / 4. The reference itself gets the highest mark, an answer without a letter or a digit the lowest, unasked."""

    Config = RubricConfig

    def __init__(self, config: RubricConfig, means: Means) -> None:
        self.name = config.name
        self._config = config
        self._rubric = RUBRICS[config.rubric]
        self._judge = Judge(means.model(config.model), config.model, config.sampling_params)
        passing = _score(self._rubric.passing)
        self._least = passing if config.pass_threshold is None else config.pass_threshold

    async def grade(self, item: Item, sample: Sample) -> Grade:
        answer = str(filled(self._config.answer, item, sample)).strip()
        referenced = self._rubric.with_reference and item.get("reference") is not None
        if referenced and answer == str(item["reference"]).strip():
            return Grade(score=1.0, passed=self._least <= 1, reason="the reference itself", details={"mark": MARKS})
        if says_nothing(answer):
            return Grade(score=0.0, passed=self._least <= 0, reason="it says nothing", details={"mark": 1})
        templates = _templates(self._rubric, self._config, with_reference=referenced)
        judged = await self._judge.ask(judge_messages(templates, item, sample, fenced=("item", "sample")), SCHEMA)
        score = _score(judged.verdict)
        return Grade(
            score=score,
            passed=score >= self._least,
            reason=f"{judged.verdict} of {MARKS}: {judged.reasoning}",
            usage=judged.usage,
            details={"mark": judged.verdict, "rubric": self._config.rubric, "model": judged.model},
        )


def _templates(rubric: Rubric, config: RubricConfig, *, with_reference: bool) -> list[InputMessage]:
    marks = "\n".join(f"{mark}: {meaning}" for mark, meaning in enumerate(rubric.marks, start=1))
    task = f"{rubric.question}\n\nGive the answer a mark:\n{marks}\n\nLength and politeness count for nothing."
    reference = "The reference:\n{{item.reference}}\n\n" if with_reference else ""
    shown = f"The question:\n{config.question}\n\n{reference}The answer to be marked:\n{config.answer}"
    return [InputMessage(role="system", content=task), InputMessage(role="user", content=shown)]


def _read(value: dict[str, Any]) -> int:
    mark = value["mark"]
    if isinstance(mark, bool) or not isinstance(mark, int) or not 1 <= mark <= MARKS:
        raise ValueError(f"mark is no whole number from 1 to {MARKS}")
    return mark


def _score(mark: int) -> float:
    return (mark - 1) / (MARKS - 1)


SCHEMA: Schema[int] = Schema({REASONING: REASONS, "mark": {"type": "integer", "enum": list(range(1, MARKS + 1))}}, _read)

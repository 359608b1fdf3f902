"""Grader `pairwise`: a judge says which of two answers is better, asked twice with the places exchanged.

A judge prefers a place as well as an answer. So the answer wins or loses only where it does so in both places; where the two
verdicts disagree it is a tie. The mean score over rows (win 1, tie a half, loss 0) is the win rate.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from stillhouse.grade import Grade, added
from stillhouse.graders.base import HALF, GraderConfig, Means, TemplateText, Threshold, filled
from stillhouse.graders.judging import (
    REASONING,
    REASONS,
    InputMessage,
    Judge,
    Judgement,
    SamplingParams,
    Schema,
    judge_messages,
    says_nothing,
)
from stillhouse.sample import Item, Sample

TASK = (
    "Which of the two answers to the question is better: more correct, more to the point, clearer? Their order and their length "
    "mean nothing. Say 'first' or 'second', or 'tie' where neither is better."
)
Winner = Literal["first", "second", "tie"]


class PairwiseConfig(GraderConfig):
    type: Literal["pairwise"]
    model: str
    """The judge."""
    question: TemplateText = "{{item.question}}"
    answer: TemplateText = "{{sample.output_text}}"
    other: TemplateText = "{{item.reference}}"
    """The answer it is compared with; `{{item.teacher}}` in evaluations that have a teacher."""
    task: TemplateText = TASK
    sampling_params: SamplingParams | None = None
    pass_threshold: Threshold = None


class Pairwise:
    """1 for a win, 0 for a loss, a half for a tie. Equal answers tie, and one that says nothing loses, without asking."""

    Config = PairwiseConfig

    def __init__(self, config: PairwiseConfig, means: Means) -> None:
        self.name = config.name
        self._config = config
        self._judge = Judge(means.model(config.model), config.model, config.sampling_params)
        self._least = HALF if config.pass_threshold is None else config.pass_threshold

    async def grade(self, item: Item, sample: Sample) -> Grade:
        answer, other = (str(filled(side, item, sample)).strip() for side in (self._config.answer, self._config.other))
        if answer == other:
            return self._graded(HALF, "the same answer")
        if says_nothing(answer):
            return self._graded(0.0, "it says nothing")
        before, after = await asyncio.gather(self._ask(item, sample, first=True), self._ask(item, sample, first=False))
        wins = (before.verdict == "first") + (after.verdict == "second")
        losses = (before.verdict == "second") + (after.verdict == "first")
        score = 1.0 if wins == 2 else 0.0 if losses == 2 else HALF
        said = f"shown first, {before.verdict} was better: {before.reasoning}; shown second, {after.verdict}: {after.reasoning}"
        graded = self._graded(score, said)
        details = {"shown_first": before.verdict, "shown_second": after.verdict, "model": before.model}
        return graded.model_copy(update={"usage": added(before.usage, after.usage), "details": details})

    def _graded(self, score: float, reason: str) -> Grade:
        return Grade(score=score, passed=score >= self._least, reason=reason)

    async def _ask(self, item: Item, sample: Sample, *, first: bool) -> Judgement[Winner]:
        mine, other = self._config.answer, self._config.other
        shown = (mine, other) if first else (other, mine)
        parts = {"The question": self._config.question, "The first answer": shown[0], "The second answer": shown[1]}
        text = "\n\n".join(f"{title}:\n{part}" for title, part in parts.items())
        templates = [InputMessage(role="system", content=self._config.task), InputMessage(role="user", content=text)]
        names = {"item": "text", "sample": "text"}  # the mark's name must not say whose answer it is
        return await self._judge.ask(judge_messages(templates, item, sample, fenced=("item", "sample"), names=names), SCHEMA)


def _read(value: dict[str, Any]) -> Winner:
    winners: dict[Any, Winner] = {"first": "first", "second": "second", "tie": "tie"}
    if not isinstance(value["winner"], str) or value["winner"] not in winners:
        raise ValueError(f"winner is none of {', '.join(winners)}")
    return winners[value["winner"]]


WINNER = {"type": "string", "enum": ["first", "second", "tie"]}
SCHEMA: Schema[Winner] = Schema({REASONING: REASONS, "winner": WINNER}, _read)

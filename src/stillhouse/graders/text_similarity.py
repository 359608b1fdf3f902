"""Grader `text_similarity`: how alike two texts are by one of eleven metrics, which are `stillhouse.similarity`'s."""

from __future__ import annotations

from typing import Literal

from stillhouse.errors import OverloadedError, UpstreamError
from stillhouse.grade import Grade, GradingError
from stillhouse.graders.base import HALF, GraderConfig, Means, TemplateText, Threshold, filled, shown
from stillhouse.sample import Item, Sample
from stillhouse.similarity import similarity

Metric = Literal[
    "cosine", "fuzzy_match", "bleu", "gleu", "meteor", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l"
]  # fmt: skip


LONGEST = 100_000
"""Characters of either text: the longest take a fraction of a second."""


class TextSimilarityConfig(GraderConfig):
    type: Literal["text_similarity"]
    input: TemplateText
    reference: TemplateText
    evaluation_metric: Metric
    pass_threshold: Threshold = None


class TextSimilarity:
    """The likeness, 0 to 1; passes from the threshold on."""

    Config = TextSimilarityConfig

    def __init__(self, config: TextSimilarityConfig, means: Means) -> None:
        self.name = config.name
        self._config = config
        self._embedder = means.embedder
        self._least = HALF if config.pass_threshold is None else config.pass_threshold

    async def grade(self, item: Item, sample: Sample) -> Grade:
        text, reference = (str(filled(side, item, sample)) for side in (self._config.input, self._config.reference))
        if max(len(text), len(reference)) > LONGEST:
            raise GradingError(f"Texts of more than {LONGEST:,} characters are not compared.")
        try:
            likeness = await similarity(self._config.evaluation_metric, text, reference, self._embedder)
        except (UpstreamError, OverloadedError) as exc:
            raise GradingError(f"'{self._embedder.name}' did not answer: {exc}", "model_grader_server_error") from exc
        passed = likeness.score >= self._least
        missed = f"; expected at least {self._least:g} of {shown(reference)}, got {shown(text)}"
        reason = f"{likeness.score:.4f} by {likeness.rule}{'' if passed else missed}"
        return Grade(score=likeness.score, passed=passed, reason=reason, details={"rule": likeness.rule})

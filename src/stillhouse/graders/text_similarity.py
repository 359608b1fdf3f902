"""Grader `text_similarity`: how alike two texts are by one of eleven metrics, which are `stillhouse.similarity`'s."""

from __future__ import annotations

from typing import Literal

from stillhouse.grade import Grade
from stillhouse.graders.base import HALF, GraderConfig, Means, TemplateText, Threshold, filled, shown
from stillhouse.sample import Item, Sample
from stillhouse.similarity import similarity

Metric = Literal[
    "cosine", "fuzzy_match", "bleu", "gleu", "meteor", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l"
]  # fmt: skip


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
        likeness = await similarity(self._config.evaluation_metric, text, reference, self._embedder)
        passed = likeness.score >= self._least
        missed = f"; expected at least {self._least:g} of {shown(reference)}, got {shown(text)}"
        reason = f"{likeness.score:.4f} by {likeness.rule}{'' if passed else missed}"
        return Grade(score=likeness.score, passed=passed, reason=reason, details={"rule": likeness.rule})

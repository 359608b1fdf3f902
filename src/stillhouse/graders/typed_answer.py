"""Grader `typed_answer`: the answer, found and compared by the rules of its type (number, choice:A-E, yes_no, date, latex, ...).

The rules are `stillhouse.answers`'; where the answer stands is a template's, or the sentence that states it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from stillhouse.answers import answer_type, extract, published_equal
from stillhouse.answers.final import stated_answer
from stillhouse.errors import UsageError
from stillhouse.grade import Grade
from stillhouse.graders.base import GraderConfig, Means, output_text, reference_of, verdict
from stillhouse.reasoning.templates import place_of
from stillhouse.reasoning.thinking import split_text
from stillhouse.sample import Item, Sample


def _known(name: str) -> str:
    try:
        answer_type(name)
    except UsageError as exc:
        raise ValueError(str(exc)) from exc
    return name


class TypedAnswerConfig(GraderConfig):
    type: Literal["typed_answer"]
    answers: Annotated[str, AfterValidator(_known)]
    """`number`, `choice:A-F`, `yes_no`, `letters`, `text`, `date`, `latex`, `paper_number`."""
    template: Literal["chat", "zs", "zs_cot", "fs_cot", "ft_natural", "ft_token", "ft_cot_natural", "ft_cot_token"] = "chat"
    """How the model was asked, and so where its answer stands."""
    rule: Literal["numeric", "published"] = "numeric"
    """published: the candidate is compared with the reference as a string (Kojima et al. 2022)."""


class TypedAnswer:
    """`... so she pays $1,000.` passes against `1000` as a number; `(B)` against `B` as a choice. Thoughts are not searched."""

    Config = TypedAnswerConfig

    def __init__(self, config: TypedAnswerConfig, means: Means) -> None:
        self.name = config.name
        self._type = answer_type(config.answers)
        self._place = place_of(config.template)
        self._published = config.rule == "published"

    async def grade(self, item: Item, sample: Sample) -> Grade:
        want = reference_of(item).strip()
        text = split_text(output_text(sample)).text
        said = extract(text, self._type, self._place)
        if self._published:
            return verdict(published_equal(said, want), want, said or "no answer")
        if text.strip() == want:  # whatever its type, as with every grader
            return verdict(True, want, text)
        if stated_answer(want) is not None:  # a reference that reasons, as a teacher's answer does
            want = extract(want, self._type, place_of("chat")) or want
        return verdict(said is not None and self._type.equal(said, want), want, said or "no answer")

"""Grader `normalised`: the whole answer equals the reference once case, width, spacing and punctuation at the ends are gone.

The rule itself is `stillhouse.answers.normalise`: training data is never rewritten by it, only comparisons are.
"""

from __future__ import annotations

from stillhouse.answers import normalise
from stillhouse.grade import Grade
from stillhouse.graders.base import output_text, reference_of, verdict
from stillhouse.sample import Item, Sample


class Normalised:
    """For labels and short answers that people would call the same: `Yes.` and `yes`, `４２` and `42`, `可以。` and `可以`."""

    name = "normalised"

    async def grade(self, item: Item, sample: Sample) -> Grade:
        want, got = normalise(reference_of(item)), normalise(output_text(sample))
        return verdict(want == got, want, got)

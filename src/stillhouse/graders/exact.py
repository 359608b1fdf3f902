"""Grader `exact`: the answer is the reference, character for character, white space at the ends aside."""

from __future__ import annotations

from stillhouse.grade import Grade
from stillhouse.graders.base import output_text, reference_of, verdict
from stillhouse.sample import Item, Sample


class Exact:
    """For labels and short answers whose spelling matters."""

    name = "exact"

    async def grade(self, item: Item, sample: Sample) -> Grade:
        want, got = reference_of(item).strip(), output_text(sample).strip()
        return verdict(want == got, want, got)

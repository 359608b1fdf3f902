"""Grader `answer`: the final answers agree, whatever reasoning stands before them; numbers are compared as numbers.

Where the final answer stands is `stillhouse.answers.final_answer`'s business. Units and fractions are not understood: `1/2` is
not `0.5`, and `18 km` is not `18`.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

from stillhouse.answers import final_answer, normalise
from stillhouse.grade import Grade
from stillhouse.graders.base import output_text, reference_of, verdict
from stillhouse.sample import Item, Sample

_NUMBER = re.compile(r"([-+]?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+))(%?)")
"""Sign, digits (thousands by commas or none), per cent. No exponents: nobody writes an answer like that."""
_PLAIN = str.maketrans({"\u2212": "-"} | dict.fromkeys("$€£¥"))
"""The minus sign of typeset text becomes a hyphen, as programs write it; currency signs go."""


class Answer:
    """For answers that reason first: `... So the answer is 1,000.` passes against `1000.0`."""

    name = "answer"

    async def grade(self, item: Item, sample: Sample) -> Grade:
        want, got = final_answer(reference_of(item)), final_answer(output_text(sample))
        return verdict(normalise(want) == normalise(got) or _equal_numbers(want, got), want, got)


def _equal_numbers(want: str, got: str) -> bool:
    number = _number(want)
    return number is not None and number == _number(got)


def _number(text: str) -> tuple[Decimal, str] | None:
    """The number that `text` is, and `%` or nothing; a currency sign does not count. None when it is not one number."""
    match = _NUMBER.fullmatch(unicodedata.normalize("NFKC", text).strip().translate(_PLAIN))
    return match and (Decimal(match[1].replace(",", "")), match[2])

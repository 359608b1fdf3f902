"""Numbers: sign, digits, thousands separators, a point; compared as numbers, not as they are written.

`PaperNumber` finds what Kojima et al. 2022 find (their `answer_cleansing`): commas are taken out, then `-?\\d+\\.?\\d*`; a full
stop behind a number belongs to the sentence. It is what `stillhouse cot score` re-grades with. `Number` is for everybody else:
it also reads `.5`, `+3`, typeset minus signs and full-width digits, and leaves commas alone that separate no thousands, so
that `3, 4` and `1,2` are two numbers each.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

TOLERANCE = Decimal("1e-6")
"""Numbers no further apart are the same (Ho et al. 2023, their evaluator)."""

_PAPER = re.compile(r"-?\d+\.?\d*")
_NUMBER = re.compile(r"(?<![\d.])[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<![\d.])[-+]?\.\d+")
_WRITTEN = re.compile(r"([-+]?)[$€£¥]?\s*([-+]?)((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?)")
_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\uff0d": "-", "\uff0b": "+"})


class PaperNumber:
    """As the papers find numbers, for their tasks."""

    name = "paper_number"

    def candidates(self, text: str) -> list[str]:
        return [found.removesuffix(".") for found in _PAPER.findall(text.replace(",", ""))]

    def canonical(self, answer: str) -> str:
        """`1,000.0` -> `1000`; what is no number stays as it is."""
        value = value_of(answer)
        return answer.strip() if value is None else plain(value)

    def equal(self, got: str, want: str) -> bool:
        """Within `TOLERANCE`, thousands separators ignored on both sides."""
        one, other = value_of(got), value_of(want)
        return one is not None and other is not None and abs(one - other) <= TOLERANCE


class Number(PaperNumber):
    """As a reader finds numbers."""

    name = "number"

    def candidates(self, text: str) -> list[str]:
        """In `10-5` the second is 5: a minus sign directly behind a digit or letter is an operator or a hyphen."""
        plain_text = unicodedata.normalize("NFKC", text).translate(_SIGNS)
        found = []
        for match in _NUMBER.finditer(plain_text):
            before = plain_text[match.start() - 1 : match.start()]
            found.append(match[0].lstrip("+-") if before.isalnum() or before == ")" else match[0])
        return found


def value_of(text: str) -> Decimal | None:
    """The number that `text` is, a currency sign before it and a full stop behind it aside. None when it is none."""
    bare = unicodedata.normalize("NFKC", text).translate(_SIGNS).replace(",", "").strip().removesuffix(".")
    match = _WRITTEN.fullmatch(bare)
    return None if match is None else Decimal((match[1] or match[2] or "") + match[3])


def plain(value: Decimal) -> str:
    """Without exponent and without zeros that say nothing."""
    written = f"{value:f}"
    bare = written.rstrip("0").rstrip(".") if "." in written else written
    return "0" if bare in ("-0", "", "-") else bare

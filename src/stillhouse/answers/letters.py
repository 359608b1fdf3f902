"""Letters joined to a word, as in last-letter concatenation: the whole text without quotes, full stops and white space.

The rule of Kojima et al. 2022: one candidate, and case counts.
"""

from __future__ import annotations

import re

from stillhouse.answers.base import ByCanonicalForm

_APART = re.compile(r"[\"'\s.]")


class Letters(ByCanonicalForm):
    name = "letters"

    def candidates(self, text: str) -> list[str]:
        return [_APART.sub("", text)]

    def canonical(self, answer: str) -> str:
        return _APART.sub("", answer)

"""Yes or no: the words themselves, whatever their case, quotes, full stops, colons and commas being white space.

The rule of Kojima et al. 2022 for StrategyQA and coin flip. `yes;` and `yes!` are no candidates there, and none here.
"""

from __future__ import annotations

import re

from stillhouse.answers.base import ByCanonicalForm

_APART = re.compile(r"[\"'\s.:,]")


class YesNo(ByCanonicalForm):
    name = "yes_no"

    def candidates(self, text: str) -> list[str]:
        return [word for word in _APART.sub(" ", text.lower()).split(" ") if word in ("yes", "no")]

    def canonical(self, answer: str) -> str:
        found = self.candidates(answer)
        return found[0] if found else ""

"""Which made questions are new: unlike the seeds, unlike what tests ask, unlike each other; and whole questions at all.

Every one that is turned away is counted by its reason. The rules are Self-Instruct's (Wang et al. 2023, section 2.2) and
WizardLM's (Xu et al. 2023, section 3.2), with likeness measured as everywhere here: the Jaccard index of character 5-grams, which
needs no words and so does for Chinese.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from stillhouse.curation.similarity import NearIndex, sketches
from stillhouse.prompts import normalise

NEAR = 0.7
"""Likeness from which a made question says again what is there."""
SHORTEST, LONGEST = 8, 4000
"""Characters."""

_OWN_MAKING = re.compile(
    r"(given|rewritten|created|new|original) (prompt|request)\b|^#+ |改写后|原(始)?(提示|请求)", re.IGNORECASE
)
_SPEAKS = re.compile(r"[^\W_]")


class Novelty:
    """The questions known so far; those that `take` accepts are known from then on."""

    def __init__(self, seeds: Iterable[str], tests: Iterable[str] = (), near: float = NEAR) -> None:
        self.turned_away: Counter[str] = Counter()
        self._known: dict[str, bool] = {}
        self._texts: list[str] = []
        self._index = NearIndex(near)
        for text in tests:
            self._add(text, test=True)
        for text in seeds:
            self._add(text, test=False)

    def take(self, text: str) -> bool:
        """Whether it is new; then it is known from here on."""
        reason = self._reason(text)
        if reason is not None:
            self.turned_away[reason] += 1
            return False
        self._add(text, test=False)
        return True

    def _reason(self, text: str) -> str | None:
        plain = normalise(text)
        if not SHORTEST <= len(plain) <= LONGEST:
            return "too short" if len(plain) < SHORTEST else "too long"
        if not _SPEAKS.match(plain.lstrip("\"'“‘«(¿¡「《")):
            return "no question"
        if _OWN_MAKING.search(plain):
            return "speaks of its own making"
        if plain in self._known:
            return "a test asks it" if self._known[plain] else "stands there already"
        near = [self._known[self._texts[key]] for key, _ in self._index.near(sketches([plain])[0])]
        if near:
            return "a test asks it" if any(near) else "nearly stands there"
        return None

    def _add(self, text: str, *, test: bool) -> None:
        plain = normalise(text)
        if plain not in self._known:
            self._known[plain] = test
            self._index.add(len(self._texts), sketches([plain])[0])
            self._texts.append(plain)

"""Letters of a multiple choice: `choice:A-F`, `choice:ABC`; `choice` alone is A to E.

As in Kojima et al. 2022 every capital letter of the range counts wherever it stands, the one in `Answer` too: that is what the
published figures are made of.
"""

from __future__ import annotations

import re

from stillhouse.answers.base import ByCanonicalForm
from stillhouse.errors import UsageError

_RANGE = re.compile(r"([A-Z])-([A-Z])")
_ONE = re.compile(r"\s*[(\[]?\s*([A-Za-z])\s*[)\]]?\s*[.:,]?\s*")


class Choice(ByCanonicalForm):
    """The letters may be written alone or in brackets: `B`, `(B)`, `b.` are one answer."""

    def __init__(self, letters: str = "A-E") -> None:
        """Raises UsageError for anything but capital letters or a range of them."""
        span = _RANGE.fullmatch(letters)
        self.letters = "".join(map(chr, range(ord(span[1]), ord(span[2]) + 1))) if span else letters
        if not re.fullmatch("[A-Z]+", self.letters):
            raise UsageError(f"Choices are letters, as in choice:A-F or choice:ABC; got 'choice:{letters}'.")
        self.name = f"choice:{letters}"
        self._letter = re.compile(f"[{self.letters}]")

    def candidates(self, text: str) -> list[str]:
        return self._letter.findall(text)

    def canonical(self, answer: str) -> str:
        """The letter alone; of an answer that says more, as in `B) 17`, the first of the range; none: empty."""
        alone = _ONE.fullmatch(answer)
        if alone and alone[1].upper() in self.letters:
            return alone[1].upper()
        found = self.candidates(answer)
        return found[0] if found else ""

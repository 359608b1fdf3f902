"""Free text: a label, a name, a phrase. The final answer of a text that reasons, compared by `normalise`."""

from __future__ import annotations

from stillhouse.answers.base import ByCanonicalForm
from stillhouse.answers.final import final_answer, normalise


class Text(ByCanonicalForm):
    name = "text"

    def candidates(self, text: str) -> list[str]:
        """One: what stands behind the last "answer is", "answer:" or "答案是", or else the whole text."""
        answer = final_answer(text)
        return [answer] if answer else []

    def canonical(self, answer: str) -> str:
        """Unicode form, case, spacing and punctuation at the ends do not count."""
        return normalise(answer)

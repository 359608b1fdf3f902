"""Selector `disagreement`: texts that teacher and student answer differently, those first where the student is surest of itself.

A committee of two (Seung et al. 1992): one of them is wrong, and a person or a stronger teacher can say which. Compared are final
answers, normalised, as in a report's agreement. Texts that the teacher was not asked, or on which both agree, are never picked.
"""

from __future__ import annotations

import math

from stillhouse.answers import final_answer, normalise
from stillhouse.selectors.base import Need, Pick, Pool, mean


class Disagreement:
    """The student's probability of its answer, by token; 1 where it gives none."""

    needs: frozenset[Need] = frozenset({"answers"})

    def select(self, pool: Pool, n: int) -> list[Pick]:
        picks = []
        for place, (opinion, answer) in enumerate(zip(pool.opinions, pool.answers, strict=True)):
            if opinion is None or answer is None:
                continue
            ours, theirs = (normalise(final_answer(each)) for each in (opinion.answer, answer))
            if ours != theirs:
                sure = math.exp(mean([math.log(max(token.chosen, 1e-30)) for token in opinion.tokens]))
                picks.append(Pick(place, sure, f"the teacher says '{_short(theirs)}', the student '{_short(ours)}' ({sure:.2f})"))
        return sorted(picks, key=lambda pick: (-pick.score, pick.place))[:n]


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."

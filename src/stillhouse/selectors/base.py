"""What a selector is, what it may look at, and what it says of a text that it picked.

A selector sees numbers and answers, never texts: who asks the student and turns texts into vectors is a verb's affair. All are
deterministic for a seed, and none minds in which order the texts come, because a pool's texts are sorted by id.

N: texts of the pool, M: texts that are labelled already, D: numbers of a vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from stillhouse.chat import ChatResponse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Need = Literal["vectors", "distributions", "answers"]


class Token(NamedTuple):
    """One token of an answer, and what it was chosen from. A classifier's answer is one token: its label."""

    chosen: float
    """Its probability."""
    likeliest: tuple[float, ...]
    """Probabilities of the likeliest tokens, the largest first, as many as the student says (20 at most over the API)."""


class Opinion(NamedTuple):
    """What a student said of a text."""

    answer: str
    tokens: tuple[Token, ...] = ()
    """Empty where the student gives no log-probabilities."""


@dataclass(frozen=True)
class Pool:
    """Texts to pick from, each by its place."""

    ids: tuple[str, ...]
    """Sorted, each once."""
    seed: int = 0
    vectors_ND: NDArray[np.float64] | None = None
    """Unit rows."""
    labelled_MD: NDArray[np.float64] | None = None
    """Unit rows of what is labelled already."""
    opinions: tuple[Opinion | None, ...] = ()
    """The student's; None where it did not answer."""
    answers: tuple[str | None, ...] = ()
    """The teacher's; None where it was not asked."""
    weights_N: NDArray[np.float64] | None = None
    """How much each text is worth by a selector that came before this one, 0 or more. None: all the same."""


class Pick(NamedTuple):
    """A text that is worth a label."""

    place: int
    score: float
    """The larger, the more it is worth, within one selector."""
    reason: str


class Selector(Protocol):
    """One way to choose."""

    needs: frozenset[Need]
    """What of a pool it looks at; the rest may be missing."""

    def select(self, pool: Pool, n: int) -> list[Pick]:
        """Up to `n` different texts, the one most worth a label first."""


def opinion_of(response: ChatResponse) -> Opinion | None:
    """The first choice of an answer as an opinion; None where there is none."""
    if not response.choices:
        return None
    choice = response.choices[0]
    entries = (choice.get("logprobs") or {}).get("content") or []
    return Opinion(response.text, tuple(map(_token, entries)))


def ranked(pool: Pool, n: int, worth: Callable[[Opinion], tuple[float, str]]) -> list[Pick]:
    """The texts with the largest worth, which is 0 or more; ties go to the smaller id. Texts without an opinion are left out."""
    picks = [Pick(place, *worth(opinion)) for place, opinion in enumerate(pool.opinions) if opinion is not None]
    return sorted(picks, key=lambda pick: (-pick.score, pick.place))[:n]


def mean(values: list[float]) -> float:
    """Over an answer's tokens; 0 for none."""
    return math.fsum(values) / len(values) if values else 0.0


def _token(entry: dict[str, Any]) -> Token:
    chosen = math.exp(float(entry["logprob"]))
    likeliest = sorted((math.exp(float(each["logprob"])) for each in entry.get("top_logprobs") or ()), reverse=True)
    return Token(chosen, tuple(likeliest) or (chosen,))

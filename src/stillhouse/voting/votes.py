"""Votes: what each voter says about each text, as probabilities of labels or as nothing, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ABSTAINED = -1
"""Stands where a label's number would."""


class Vote(NamedTuple):
    """One voter about one text."""

    shares: Mapping[str, float]
    """Label -> how probable the voter holds it; the sum is at most 1, what is missing is the others'. Empty: no vote."""
    why: str = ""
    """Why there is no vote, in words that many share; '' where the voter chose to say nothing."""

    @property
    def label(self) -> str | None:
        """The likeliest; of equal ones the first."""
        return max(self.shares, key=self.shares.__getitem__) if self.shares else None


NO_VOTE = Vote({})
CHOSE_NOT_TO = "abstained"
"""How a vote that is none is counted where the voter gave no other reason."""


@dataclass(frozen=True)
class Votes:
    """All of them. Shapes: N texts, V voters, K labels."""

    labels: tuple[str, ...]
    voters: tuple[str, ...]
    by_voter: tuple[Sequence[Vote], ...]
    """V columns of N votes."""

    @cached_property
    def choices_NV(self) -> NDArray[np.int64]:
        """The number of each vote's label; `ABSTAINED` for none."""
        number = {label: index for index, label in enumerate(self.labels)}
        columns = [[ABSTAINED if (label := vote.label) is None else number[label] for vote in votes] for votes in self.by_voter]
        return np.array(columns, dtype=np.int64).reshape(len(self.voters), -1).T

    def shares_NK(self, voter: int) -> NDArray[np.float64]:
        """What a voter says as distributions; a row of zeros where it says nothing."""
        size, votes = len(self.labels), self.by_voter[voter]
        number = {label: index for index, label in enumerate(self.labels)}
        found = np.zeros((len(votes), size))
        for row, vote in enumerate(votes):
            if vote.shares:
                left = max(0.0, 1.0 - sum(vote.shares.values()))
                others = size - len(vote.shares)
                found[row] = left / others if others else 0.0
                for label, share in vote.shares.items():
                    found[row, number[label]] = share
                found[row] /= found[row].sum() or 1.0
        return found

    @property
    def overlapping_N(self) -> NDArray[np.bool_]:
        """Texts about which two voters or more say something."""
        several: NDArray[np.bool_] = (self.choices_NV != ABSTAINED).sum(axis=1) > 1
        return several

    @property
    def conflicting_N(self) -> NDArray[np.bool_]:
        """Texts about which two voters say different things."""
        top = self.choices_NV.max(axis=1, initial=ABSTAINED)
        there_NV = self.choices_NV != ABSTAINED
        different: NDArray[np.bool_] = (there_NV & (self.choices_NV != top[:, None])).any(axis=1)
        return different

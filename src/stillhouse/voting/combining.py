"""Votes -> a distribution over the labels of each text: a weighted vote, or a label model that learns whom to believe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stillhouse.errors import UsageError
from stillhouse.voting.dawid_skene import accuracies, dawid_skene
from stillhouse.voting.votes import ABSTAINED, Votes

How = Literal["auto", "vote", "dawid-skene", "one-coin"]
LEAST_VOTERS = 3
"""For a label model: two that disagree are equally likely to be wrong."""
LEAST_PER_LABEL = 30
"""Votes of each voter, per label, from which on `auto` estimates whole confusion matrices."""


@dataclass(frozen=True)
class Combined:
    """What the votes say together. Shapes: N texts, V voters, K labels."""

    how: Literal["vote", "dawid-skene", "one-coin"]
    posterior_NK: NDArray[np.float64]
    """Zeros where nobody says anything."""
    accuracy_V: NDArray[np.float64]
    """How often each voter is right where it says something, as the posteriors have it; nan for one that never does."""

    @property
    def best_N(self) -> NDArray[np.int64]:
        """The likeliest label's number; of equal ones the first."""
        best: NDArray[np.int64] = self.posterior_NK.argmax(axis=1)
        return best

    @property
    def confidence_N(self) -> NDArray[np.float64]:
        """The likeliest label's probability; 0 where nobody says anything."""
        sure: NDArray[np.float64] = self.posterior_NK.max(axis=1, initial=0.0)
        return sure


def combine(votes: Votes, how: How = "auto", weights: Mapping[str, float] | None = None) -> Combined:
    """`weights` are of voters by name, 1 where none is given; only a vote takes any. Raises UsageError."""
    weights = weights or {}
    unknown = sorted(set(weights) - set(votes.voters))
    if unknown:
        raise UsageError(f"There is no voter '{unknown[0]}'. There are: {', '.join(votes.voters)}.")
    chosen = _chosen(votes) if how == "auto" and not weights else "vote" if how == "auto" else how
    if chosen != "vote" and weights:
        raise UsageError(f"'{chosen}' finds out by itself how much each voter is worth: leave the weights out, or say 'vote'.")
    if chosen == "vote":
        posterior_NK = _pooled(votes, [weights.get(voter, 1.0) for voter in votes.voters])
        return Combined("vote", posterior_NK, accuracies(votes.choices_NV, posterior_NK))
    if len(votes.voters) < LEAST_VOTERS:
        raise UsageError(
            f"A label model needs {LEAST_VOTERS} voters at least, teachers and functions together; there are "
            f"{len(votes.voters)}. Say 'vote'."
        )
    model = dawid_skene(votes.choices_NV, len(votes.labels), one_coin=chosen == "one-coin")
    posterior_NK = model.posterior_NK * (votes.choices_NV != ABSTAINED).any(axis=1, keepdims=True)
    return Combined(chosen, posterior_NK, model.accuracy_V)


def _chosen(votes: Votes) -> Literal["vote", "dawid-skene", "one-coin"]:
    if len(votes.voters) < LEAST_VOTERS:
        return "vote"
    said_V = (votes.choices_NV != ABSTAINED).sum(axis=0)
    return "dawid-skene" if said_V.min() >= LEAST_PER_LABEL * len(votes.labels) else "one-coin"


def _pooled(votes: Votes, weights: list[float]) -> NDArray[np.float64]:
    """The weighted mean of the distributions of those who say something: the linear opinion pool (Stone 1961)."""
    pooled_NK = np.zeros((len(votes.choices_NV), len(votes.labels)))
    for voter, weight in enumerate(weights):
        pooled_NK += weight * votes.shares_NK(voter)
    whole_NK: NDArray[np.float64] = pooled_NK / np.maximum(pooled_NK.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return whole_NK

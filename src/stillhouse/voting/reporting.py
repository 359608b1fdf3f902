"""What came of a vote: how much is labelled, how sure, who said how much, who is right how often, who agrees with whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stillhouse.records import Record
from stillhouse.voting.combining import Combined
from stillhouse.voting.votes import ABSTAINED, CHOSE_NOT_TO, Votes


class VoterReport(Record):
    """One teacher or function."""

    name: str
    votes: int
    coverage: float
    """Of the texts."""
    estimated_accuracy: float | None
    """How often it is right where it votes, as the combination has it; None for one that never votes."""
    agreement: float | None
    """With the label that was chosen, where both are there."""
    conflicts: float
    """Share of the texts on which it says something else than another voter."""
    accuracy: float | None = None
    """By the references, where the source has any."""
    no_votes: dict[str, int] = {}
    """Why it does not vote -> texts."""
    rules: dict[str, int] = {}
    """Of a teacher: by which rule its labels were found -> answers."""


class VotingReport(Record):
    """All of it."""

    how: str
    texts: int
    labelled: int
    coverage: float
    overlaps: float
    """Share of the texts about which two voters or more say something."""
    conflicts: float
    """Share of the texts about which two say different things."""
    mean_confidence: float | None
    """Of the labelled texts."""
    accuracy: float | None = None
    """Of the labels, by the references, where the source has any."""
    left_out: dict[str, int] = {}
    """Why a text has no label -> texts."""
    labels: dict[str, int] = {}
    """Label -> texts; 0 included."""
    voters: tuple[VoterReport, ...] = ()
    pairs: tuple[tuple[str, str, float | None], ...] = ()
    """Two voters, and how often they agree where both vote."""


def report_of(
    votes: Votes,
    combined: Combined,
    chosen_N: Sequence[str | None],
    reasons: Counter[str],
    *,
    references: Sequence[str | None] = (),
    rules: Mapping[str, Counter[str]] | None = None,
) -> VotingReport:
    """`chosen_N`: the label that each text got, None for none; `reasons` why not; `references`: the right labels, where known."""
    size = len(chosen_N)
    number = {label: index for index, label in enumerate(votes.labels)}
    labels_N = np.array([ABSTAINED if label is None else number[label] for label in chosen_N], dtype=np.int64)
    truth_N = np.array([number.get(label or "", ABSTAINED) for label in references or [None] * size], dtype=np.int64)
    labelled = int((labels_N != ABSTAINED).sum())
    counts = Counter(label for label in chosen_N if label is not None)
    return VotingReport(
        how=combined.how,
        texts=size,
        labelled=labelled,
        coverage=labelled / size if size else 0.0,
        overlaps=float(votes.overlapping_N.mean()) if size else 0.0,
        conflicts=float(votes.conflicting_N.mean()) if size else 0.0,
        mean_confidence=float(combined.confidence_N[labels_N != ABSTAINED].mean()) if labelled else None,
        accuracy=_agreement(labels_N, truth_N),
        left_out=dict(reasons.most_common()),
        labels={label: counts[label] for label in votes.labels},
        voters=tuple(
            _voter(votes, combined, index, labels_N, truth_N, (rules or {}).get(name, Counter()))
            for index, name in enumerate(votes.voters)
        ),
        pairs=tuple(_pairs(votes)),
    )


def _voter(
    votes: Votes,
    combined: Combined,
    index: int,
    labels_N: NDArray[np.int64],
    truth_N: NDArray[np.int64],
    rules: Counter[str],
) -> VoterReport:
    choices_N = votes.choices_NV[:, index]
    said = choices_N != ABSTAINED
    others_NV = np.delete(votes.choices_NV, index, axis=1)
    against = ((others_NV != ABSTAINED) & (others_NV != choices_N[:, None])).any(axis=1) & said
    accuracy = float(combined.accuracy_V[index])
    why = Counter(vote.why or CHOSE_NOT_TO for vote in votes.by_voter[index] if not vote.shares)
    return VoterReport(
        name=votes.voters[index],
        votes=int(said.sum()),
        coverage=float(said.mean()) if len(said) else 0.0,
        estimated_accuracy=None if np.isnan(accuracy) else accuracy,
        agreement=_agreement(choices_N, labels_N),
        conflicts=float(against.mean()) if len(said) else 0.0,
        accuracy=_agreement(choices_N, truth_N),
        no_votes=dict(why.most_common()),
        rules=dict(rules.most_common()),
    )


def _pairs(votes: Votes) -> list[tuple[str, str, float | None]]:
    names, choices_NV = votes.voters, votes.choices_NV
    return [
        (names[first], names[second], _agreement(choices_NV[:, first], choices_NV[:, second]))
        for first in range(len(names))
        for second in range(first + 1, len(names))
    ]


def _agreement(first_N: NDArray[np.int64], second_N: NDArray[np.int64]) -> float | None:
    both = (first_N != ABSTAINED) & (second_N != ABSTAINED)
    return float((first_N[both] == second_N[both]).mean()) if both.any() else None

"""The label model: how reliable each voter is, and so which label each text has, from the votes alone.

Dawid & Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm", Applied Statistics 28 (1979): each
text has one true label k, drawn with probability p_k; given it, each voter v says l with probability pi_v[k, l], independently of
the others. EM finds both: posteriors from confusions (their equation 2.5), confusions from posteriors (2.3, 2.4), begun at the
voters' majority. A text that a voter says nothing about tells nothing about that voter, which is right where silence does not
depend on the true label.

The one-coin variant has one number a voter: a_v on the diagonal, (1 - a_v) / (K - 1) beside it. It needs few examples of each.

Both are maxima a posteriori: a Dirichlet prior worth `STRENGTH` votes on each row (a Beta one on a_v), of which `TRUST` are right
and the rest is spread over all labels. So a label that a voter was never seen with is not held impossible, and one that few texts
have does not dissolve in a frequent one. Shapes: N texts, V voters, K labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillhouse.voting.votes import ABSTAINED

Floats = NDArray[np.float64]
STRENGTH = 2.0
"""Votes that the priors are worth."""
TRUST = 0.8
"""Share of those votes that are right."""
STEPS = 200
TOLERANCE = 1e-7
"""Largest change of any posterior in the last step."""


@dataclass(frozen=True)
class LabelModel:
    """What EM ended with."""

    posterior_NK: Floats
    """Of texts without votes: the prior."""
    prior_K: Floats
    confusion_VKK: Floats
    """[v, k, l]: how often voter v says l of texts whose label is k."""
    accuracy_V: Floats
    """How often each voter is right where it says something, by the posteriors; nan for one that never does."""
    steps: int


def dawid_skene(choices_NV: NDArray[np.int64], size: int, *, one_coin: bool = False) -> LabelModel:
    """Fit to votes, which are numbers of labels below `size`, or `ABSTAINED`."""
    asked = (choices_NV != ABSTAINED).any(axis=1)
    votes_NV = choices_NV[asked]
    posterior_NK = majority(votes_NV, size)
    steps = 0
    while True:
        prior_K = (posterior_NK.sum(axis=0) + 1 / size) / (len(posterior_NK) + 1)
        confusion_VKK = _confusions(votes_NV, posterior_NK, one_coin)
        before, posterior_NK = posterior_NK, _posteriors(votes_NV, prior_K, confusion_VKK)
        steps += 1
        if steps == STEPS or np.abs(posterior_NK - before).max(initial=0.0) < TOLERANCE:
            break
    whole_NK = np.tile(prior_K, (len(choices_NV), 1))
    whole_NK[asked] = posterior_NK
    return LabelModel(whole_NK, prior_K, confusion_VKK, accuracies(choices_NV, whole_NK), steps)


def majority(votes_NV: NDArray[np.int64], size: int) -> Floats:
    """Each label's share of the votes about each text; zeros where there are none."""
    counts_NK = np.zeros((len(votes_NV), size))
    for votes_N in votes_NV.T:
        said = np.flatnonzero(votes_N != ABSTAINED)
        counts_NK[said, votes_N[said]] += 1
    shares_NK: Floats = counts_NK / np.maximum(counts_NK.sum(axis=1, keepdims=True), 1)
    return shares_NK


def accuracies(choices_NV: NDArray[np.int64], posterior_NK: Floats) -> Floats:
    """The mean posterior of what each voter says; nan for one that says nothing."""
    found = [
        posterior_NK[said, votes_N[said]].mean() if len(said := np.flatnonzero(votes_N != ABSTAINED)) else np.nan
        for votes_N in choices_NV.T
    ]
    return np.array(found, dtype=np.float64)


def _confusions(votes_NV: NDArray[np.int64], posterior_NK: Floats, one_coin: bool) -> Floats:
    size = posterior_NK.shape[1]
    counts_VKK = np.zeros((votes_NV.shape[1], size, size))
    for counts_KK, votes_N in zip(counts_VKK, votes_NV.T, strict=True):
        said = np.flatnonzero(votes_N != ABSTAINED)
        np.add.at(counts_KK.T, votes_N[said], posterior_NK[said])
    if not one_coin:
        before_KK = STRENGTH * (TRUST * np.eye(size) + (1 - TRUST) / size)
        whole_VKK: Floats = (counts_VKK + before_KK) / (counts_VKK.sum(axis=2, keepdims=True) + STRENGTH)
        return whole_VKK
    right_V = np.trace(counts_VKK, axis1=1, axis2=2)
    accuracy_V = (right_V + STRENGTH * (TRUST + (1 - TRUST) / size)) / (counts_VKK.sum(axis=(1, 2)) + STRENGTH)
    confusion_VKK = np.repeat((1 - accuracy_V) / max(1, size - 1), size * size).reshape(counts_VKK.shape)
    confusion_VKK[:, np.arange(size), np.arange(size)] = accuracy_V[:, None]
    return confusion_VKK


def _posteriors(votes_NV: NDArray[np.int64], prior_K: Floats, confusion_VKK: Floats) -> Floats:
    log_NK = np.tile(np.log(prior_K), (len(votes_NV), 1))
    for votes_N, confusion_KK in zip(votes_NV.T, confusion_VKK, strict=True):
        said = np.flatnonzero(votes_N != ABSTAINED)
        log_NK[said] += np.log(confusion_KK.T[votes_N[said]])
    log_NK -= log_NK.max(axis=1, keepdims=True, initial=-np.inf)
    shares_NK = np.exp(log_NK)
    posterior_NK: Floats = shares_NK / shares_NK.sum(axis=1, keepdims=True)
    return posterior_NK

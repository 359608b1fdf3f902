"""Votes together: weights, the choice of a way, and what is said of all of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from stillhouse.errors import UsageError
from stillhouse.voting import Vote, Votes, combine
from stillhouse.voting.reporting import report_of

YES, NO, NOTHING = Vote({"yes": 1.0}), Vote({"no": 1.0}), Vote({}, "cut off")


def votes_of(**columns: list[Vote]) -> Votes:
    return Votes(("yes", "no", "maybe"), tuple(columns), tuple(columns.values()))


def test_a_vote_is_the_weighted_mean_of_those_who_say_something() -> None:
    votes = votes_of(a=[YES, YES, NOTHING], b=[NO, NOTHING, NOTHING])
    even = combine(votes, "vote")
    assert even.posterior_NK.tolist() == [[0.5, 0.5, 0], [1, 0, 0], [0, 0, 0]]
    assert even.confidence_N.tolist() == [0.5, 1, 0]
    heavy = combine(votes, "auto", {"b": 3.0})
    assert heavy.how == "vote"
    np.testing.assert_allclose(heavy.posterior_NK[0], [0.25, 0.75, 0])


def test_what_a_voter_is_not_sure_of_belongs_to_the_labels_it_did_not_name() -> None:
    assert combine(votes_of(a=[Vote({"no": 0.6})])).posterior_NK.tolist() == [pytest.approx([0.2, 0.6, 0.2])]
    assert combine(votes_of(a=[Vote({"no": 0.6, "yes": 0.3})])).posterior_NK.tolist() == [pytest.approx([0.3, 0.6, 0.1])]


def test_auto_takes_a_label_model_from_three_voters_on_and_confusions_from_many_votes_on() -> None:
    assert combine(votes_of(a=[YES] * 90, b=[YES] * 90)).how == "vote"
    assert combine(votes_of(a=[YES] * 20, b=[YES] * 20, c=[NO] * 20)).how == "one-coin"
    assert combine(votes_of(a=[YES] * 90, b=[YES] * 90, c=[NO] * 90)).how == "dawid-skene"


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="There is no voter 'z'"):
        combine(votes_of(a=[YES]), "vote", {"z": 2})
    with pytest.raises(UsageError, match="3 voters at least"):
        combine(votes_of(a=[YES], b=[YES]), "one-coin")
    with pytest.raises(UsageError, match="leave the weights out"):
        combine(votes_of(a=[YES], b=[YES], c=[YES]), "dawid-skene", {"a": 2})


def test_the_report_counts_everything() -> None:
    votes = votes_of(a=[YES, YES, NOTHING, NO], b=[NO, YES, NOTHING, Vote({})], c=[NOTHING, NOTHING, NOTHING, NO])
    combined = combine(votes, "vote")
    report = report_of(
        votes, combined, ["yes", "yes", None, "no"], Counter({"cut off": 1}), references=["yes", "no", "yes", "no"]
    )
    assert (report.texts, report.labelled, report.coverage) == (4, 3, 0.75)
    assert (report.overlaps, report.conflicts) == (0.75, 0.25)
    assert report.accuracy == pytest.approx(2 / 3)
    assert report.labels == {"yes": 2, "no": 1, "maybe": 0}
    a, b, c = report.voters
    assert (a.votes, a.coverage, a.agreement, a.conflicts) == (3, 0.75, 1.0, 0.25)
    assert a.accuracy == pytest.approx(2 / 3)
    assert b.no_votes == {"cut off": 1, "abstained": 1}
    assert (b.agreement, c.no_votes) == (0.5, {"cut off": 3})
    assert report.pairs == (("a", "b", 0.5), ("a", "c", 1.0), ("b", "c", None))

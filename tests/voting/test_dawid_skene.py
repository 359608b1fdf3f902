"""The label model finds what was planted, and depends on nothing that should not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from stillhouse.voting.dawid_skene import dawid_skene, majority
from stillhouse.voting.votes import ABSTAINED
from tests.voting.planted import confusion, votes

SIZE = 3
VOTES = arrays.arrays(np.int64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.integers(ABSTAINED, SIZE - 1))
CLOSE = 1e-6


@pytest.mark.parametrize("silent", [0.0, 0.4])
def test_it_finds_planted_confusions_and_beats_the_majority(silent: float) -> None:
    planted = [confusion(3, 0.9), confusion(3, 0.85), confusion(3, 0.75), confusion(3, 0.55, favourite=0)]
    planted.append(confusion(3, 0.5, favourite=0))
    truth_N, said_NV = votes(planted, 3000, silent=silent)
    model = dawid_skene(said_NV, 3)
    np.testing.assert_allclose(model.confusion_VKK, np.array(planted), atol=0.08)
    right = (model.posterior_NK.argmax(axis=1) == truth_N).mean()
    assert right > (majority(said_NV, 3).argmax(axis=1) == truth_N).mean() + 0.02
    real_V = [(said_NV[said_NV[:, v] != ABSTAINED, v] == truth_N[said_NV[:, v] != ABSTAINED]).mean() for v in range(5)]
    np.testing.assert_allclose(model.accuracy_V, real_V, atol=0.04)


def test_one_coin_finds_planted_accuracies_with_many_labels_and_few_texts_of_each() -> None:
    planted = [confusion(40, accuracy) for accuracy in (0.9, 0.7, 0.5, 0.3)]
    truth_N, said_NV = votes(planted, 600, silent=0.2)
    model = dawid_skene(said_NV, 40, one_coin=True)
    np.testing.assert_allclose(model.accuracy_V, [0.9, 0.7, 0.5, 0.3], atol=0.06)
    right = (model.posterior_NK.argmax(axis=1) == truth_N).mean()
    assert right > (majority(said_NV, 40).argmax(axis=1) == truth_N).mean() + 0.03


def test_posteriors_are_calibrated_where_the_model_holds() -> None:
    truth_N, said_NV = votes([confusion(2, 0.7), confusion(2, 0.65), confusion(2, 0.75)], 4000)
    sure_N = dawid_skene(said_NV, 2).posterior_NK.max(axis=1)
    right_N = dawid_skene(said_NV, 2).posterior_NK.argmax(axis=1) == truth_N
    assert abs(sure_N.mean() - right_N.mean()) < 0.05


@pytest.mark.parametrize("one_coin", [False, True])
@settings(max_examples=40, deadline=None)
@given(said_NV=VOTES, data=st.data())
def test_neither_the_order_of_texts_nor_that_of_voters_nor_the_labels_numbers_matter(
    one_coin: bool, said_NV: NDArray[np.int64], data: st.DataObject
) -> None:
    texts = np.array(data.draw(st.permutations(range(said_NV.shape[0]))))
    voters = np.array(data.draw(st.permutations(range(said_NV.shape[1]))))
    names = np.array([*data.draw(st.permutations(range(SIZE))), ABSTAINED])  # -1 finds the last
    before = dawid_skene(said_NV, SIZE, one_coin=one_coin)
    after = dawid_skene(names[said_NV[texts][:, voters]], SIZE, one_coin=one_coin)
    np.testing.assert_allclose(after.posterior_NK[:, names[:-1]], before.posterior_NK[texts], rtol=0, atol=CLOSE)
    np.testing.assert_allclose(after.accuracy_V, before.accuracy_V[voters], rtol=0, atol=CLOSE)


@pytest.mark.parametrize("one_coin", [False, True])
@settings(max_examples=40, deadline=None)
@given(said_NV=VOTES)
def test_who_says_nothing_changes_nothing(one_coin: bool, said_NV: NDArray[np.int64]) -> None:
    silent_NV = np.concatenate([said_NV, np.full((len(said_NV), 1), ABSTAINED)], axis=1)
    with_him = dawid_skene(silent_NV, SIZE, one_coin=one_coin)
    without = dawid_skene(said_NV, SIZE, one_coin=one_coin)
    np.testing.assert_array_equal(with_him.posterior_NK, without.posterior_NK)
    assert np.isnan(with_him.accuracy_V[-1])


@pytest.mark.parametrize("one_coin", [False, True])
@settings(max_examples=40, deadline=None)
@given(labels=st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=20), voters=st.integers(2, 5))
def test_what_all_agree_on_is_the_label(one_coin: bool, labels: list[int], voters: int) -> None:
    said_NV = np.repeat(np.array(labels)[:, None], voters, axis=1)
    found = dawid_skene(said_NV, SIZE, one_coin=one_coin)
    assert found.posterior_NK.argmax(axis=1).tolist() == labels


@settings(max_examples=40, deadline=None)
@given(said_NV=VOTES)
def test_posteriors_and_confusions_are_distributions(said_NV: NDArray[np.int64]) -> None:
    found = dawid_skene(said_NV, SIZE)
    assert np.isfinite(found.posterior_NK).all() and (found.posterior_NK >= 0).all()
    np.testing.assert_allclose(found.posterior_NK.sum(axis=1), 1)
    np.testing.assert_allclose(found.confusion_VKK.sum(axis=2), 1)

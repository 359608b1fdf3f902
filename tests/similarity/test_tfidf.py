"""Texts as vectors: what shares rare words is near, what shares nothing is not, and an instruction before all does not matter."""

from __future__ import annotations

import numpy as np
import pytest

from stillhouse.similarity.tfidf import Latent, Tfidf, nearest, unit
from tests.curation.test_build import questions

TEXTS = ["the blue lamp is broken", "my blue lamp broke", "where is the train station", "退款还没有到账", "退款在哪里"]


def cosines(texts: list[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    rows = Tfidf(texts).rows_NV
    found: np.ndarray[tuple[int, int], np.dtype[np.float64]] = (rows @ rows.T).toarray()
    return found


def test_rows_have_length_one_and_likeness_is_what_is_shared() -> None:
    alike = cosines(TEXTS)
    assert np.diag(alike) == pytest.approx(np.ones(5))
    assert alike[0, 1] > alike[0, 2] > 0
    assert alike[3, 4] > 0.1 and alike[0, 3] == 0
    shuffled = cosines(TEXTS[::-1])
    assert shuffled[::-1, ::-1] == pytest.approx(alike), "the order of the texts does not matter"


def test_an_instruction_that_all_share_counts_little() -> None:
    bare = cosines(TEXTS[:3])
    behind = cosines([f"Classify politely into categories: {text}" for text in TEXTS[:3]])
    assert behind[0, 1] > behind[0, 2]
    assert behind[0, 2] - bare[0, 2] < 0.45


def test_other_texts_by_the_same_features() -> None:
    known = Tfidf(TEXTS)
    others = known.rows(["the blue lamp is broken", "xyzzy", ""])
    assert nearest(others, known.rows_NV) == pytest.approx([1, 0, 0])
    assert nearest(others, known.rows_NV[:0]).tolist() == [0, 0, 0]
    assert nearest(known.rows_NV[:0], known.rows_NV).tolist() == []


def test_main_directions_keep_what_is_alike() -> None:
    rows = Tfidf(questions(60)).rows_NV
    whole = Latent(rows, directions=60).vectors(rows)
    assert whole @ whole.T == pytest.approx((rows @ rows.T).toarray(), abs=1e-6), "as many directions as texts lose nothing"
    assert Latent(rows, 5).vectors(rows).shape == (60, 5)
    again = Latent(rows, 5).vectors(rows)
    assert np.array_equal(again, Latent(rows, 5).vectors(rows))


def test_nothing_has_no_direction() -> None:
    assert unit(np.zeros((2, 3))).tolist() == [[0, 0, 0], [0, 0, 0]]

"""A data report's numbers, exact on datasets that were made to have them."""

from __future__ import annotations

import pytest

from stillhouse.curation.covering import coverage
from stillhouse.curation.describing import describe, lengths
from tests.curation.examples import an_example
from tests.curation.test_build import questions

TEXTS = questions(40, words=20)


def test_every_count_is_exact() -> None:
    train = [an_example(text, f"label{place % 3}") for place, text in enumerate(TEXTS[:30])]
    train += [an_example(TEXTS[0].upper(), "label0"), an_example(TEXTS[1] + "!!", "label1"), an_example(TEXTS[2], "label0")]
    test = [an_example(text, "label1", split="test") for text in TEXTS[30:38]]
    test += [an_example(TEXTS[3], "label0", split="test"), an_example(TEXTS[4] + " ??", "never seen", split="test")]
    found = describe([*train, *test])
    assert found.counts == {"train": 33, "valid": 0, "test": 10}
    again = found.duplicates
    assert (again.exact, again.near, again.contradictions) == (1, 1, 1)
    assert found.leaks == len(found.leak_pairs) == 2
    assert found.leak_pairs[0].similarity == 1.0
    assert found.labels is not None
    assert found.labels.counts == {"label0": 12, "label1": 11, "label2": 10}
    assert found.labels.unseen == {"test": ("never seen",)}
    assert found.labels.majority == pytest.approx(12 / 33)
    assert 0.99 < found.labels.evenness < 1
    assert found.questions.keys() == {"train", "test"}


def test_answers_that_are_texts_of_their_own_are_no_labels() -> None:
    assert describe([an_example(text, f"Because of {text}") for text in TEXTS]).labels is None
    assert describe([an_example(text, split="test") for text in TEXTS]).labels is None


def test_lengths_are_those_of_the_texts() -> None:
    found = lengths(["a" * n for n in range(1, 101)])
    assert (found.shortest, found.median, found.longest, found.mean) == (1, 50, 100, 50.5)
    assert found.p95 == 96
    assert lengths(["ab"]).p95 == 2


def test_what_is_asked_elsewhere_and_never_learned_is_found() -> None:
    """Train speaks of lamps and trains, the traffic of refunds too: a third of it, in words that train never has."""
    lamps = [f"the {colour} lamp in room {number} is broken" for colour in ("red", "blue", "green") for number in range(20)]
    trains = [f"when does the train to station {number} leave {day}" for day in ("today", "tomorrow") for number in range(30)]
    refunds = [f"ich möchte mein geld für bestellung {number} zurück" for number in range(60)]
    found = coverage(
        [*lamps[:40], *trains[:40]], {"valid": [], "test": [*lamps[40:], *trains[40:]], "traffic": lamps[:5] + refunds}
    )
    assert found.covered.keys() == {"test", "traffic"}
    assert found.covered["test"].near == 40
    traffic = found.covered["traffic"]
    assert (traffic.texts, traffic.near) == (65, 5)
    assert all("geld" in text for text in traffic.farthest)
    assert "geld" in found.thin[0].middle and found.thin[0].train == 0, "the worst of all; green lamps are thin, too"
    assert sum(cluster.others["traffic"] for cluster in found.clusters if "geld" in cluster.middle) == 60
    assert sum(cluster.train for cluster in found.clusters) == 80


def test_nothing_to_learn_from_covers_nothing() -> None:
    assert coverage([], {"test": ["a"]}).covered == {}
    assert coverage(["one text"], {"test": ["one text", "xyzzy"]}).covered["test"].near == 1

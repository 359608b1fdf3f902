"""Texts that are made: the same from the same seed, never empty, of the words there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stillhouse.curation.augmenting import Augmenter, Lexicon, Ways

TEXTS = ["where is my new card", "the payment failed twice", "how do I change my pin code", "hello"]
words = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
texts = st.lists(st.lists(words, min_size=1, max_size=12).map(" ".join), min_size=1, max_size=8)


@given(texts, st.integers(0, 2**32))
def test_no_text_is_empty_and_every_word_was_there(given_texts: list[str], seed: int) -> None:
    lexicon = Lexicon.of_texts(given_texts)
    for made in Augmenter(given_texts, lexicon, Ways(whole=0.2, part=0.2, joined=0.2, phrase=0.2), seed=seed).make(30):
        assert made.text.split()
        assert set(made.text.split()) <= set(lexicon.words)


def test_a_seed_makes_the_same_texts() -> None:
    def texts_of(seed: int) -> list[str]:
        return [made.text for made in Augmenter(TEXTS, Lexicon.of_texts(TEXTS), Ways(), seed=seed).make(50)]

    assert texts_of(1) == texts_of(1)
    assert texts_of(1) != texts_of(2)


def test_without_noise_a_whole_text_is_the_text_and_a_part_is_a_run_of_it() -> None:
    quiet = {"noise": 0.0, "exchanged": 0.0}
    lexicon = Lexicon.of_texts(TEXTS)
    for made in Augmenter(TEXTS, lexicon, Ways(whole=1.0, part=0.0, joined=0.0, **quiet), seed=0).make(20):
        assert made.parent is not None and made.text == TEXTS[made.parent]
    for made in Augmenter(TEXTS, lexicon, Ways(whole=0.0, part=1.0, joined=0.0, **quiet), seed=0).make(20):
        assert made.parent is not None and f" {made.text} " in f" {TEXTS[made.parent]} "
    for made in Augmenter(TEXTS, lexicon, Ways(whole=0, part=0, joined=0, phrase=1, longest_phrase=3, **quiet), seed=0).make(20):
        assert made.parent is not None and f" {made.text} " in f" {TEXTS[made.parent]} " and len(made.text.split()) <= 3


def test_a_word_is_replaced_by_one_that_is_like_it() -> None:
    lexicon = Lexicon(("card",), {"card": ("ticket",)})
    ways = Ways(whole=1.0, part=0.0, joined=0.0, noise=1.0, replaced=1.0, random=0.0, dropped=0.0, exchanged=0.0)
    made = {made.text for made in Augmenter(["my Card"], lexicon, ways, seed=0).make(50)}
    assert made == {"my Card", "my ticket"}


def test_every_way_is_taken_as_often_as_asked() -> None:
    made = Augmenter(TEXTS, Lexicon.of_texts(TEXTS), Ways(whole=0.5, part=0.25, joined=0.125), seed=0).make(4000)
    shares = {way: sum(each.way == way for each in made) / len(made) for way in ("whole", "part", "joined", "words")}
    assert all(abs(shares[way] - share) < 0.04 for way, share in {"whole": 0.5, "part": 0.25, "joined": 0.125}.items())

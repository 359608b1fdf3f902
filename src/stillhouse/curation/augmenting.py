"""More texts than there are, for classifiers: parts of texts, two parts joined, words replaced, left out, exchanged.

A small student needs more texts than a large one to learn the same (Jiao et al. 2020, TinyBERT, table 6). What these texts mean
is for the teacher to say: they come without labels. No weights here; which words are alike is handed in.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import Field

from stillhouse.records import Record

RANK_OFFSET = 50
"""A word of rank r is drawn with weight 1 / (r + this): Zipf's law with its head cut, so that rarer words come up, too."""


class Ways(Record):
    """How often which way is taken (shares of the texts), and how strongly (probability of a word)."""

    whole: float = Field(default=0.35, ge=0, le=1)
    """A text as it is, then noise."""
    part: float = Field(default=0.25, ge=0, le=1)
    """A run of its words, a fifth to nine tenths of them, then noise."""
    joined: float = Field(default=0.3, ge=0, le=1)
    """Runs of two texts, one after the other, then noise."""
    phrase: float = Field(default=0.0, ge=0, le=1)
    """A run of a few words, every other one with noise: what the teacher says of parts of sentences, for little of its time.
    What the four leave to 1 are one to three words on their own."""
    longest_phrase: int = Field(default=9, ge=2)
    noise: float = Field(default=1.0, ge=0, le=1)
    """Each text's noise is drawn between 0 and this, and multiplies the next three."""
    replaced: float = Field(default=0.4, ge=0, le=1)
    """Probability that a word becomes one of those most like it."""
    random: float = Field(default=0.15, ge=0, le=1)
    """... any word at all."""
    dropped: float = Field(default=0.2, ge=0, le=1)
    """... nothing."""
    exchanged: float = Field(default=0.3, ge=0, le=1)
    """Probability that two neighbours in a text change places."""


@dataclass(frozen=True)
class Lexicon:
    """Words a text may get that it had not."""

    words: tuple[str, ...]
    """The most frequent first."""
    alike: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Word in lower case -> those that mean something like it."""

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> Lexicon:
        """The texts' own words, for want of better."""
        counts: dict[str, int] = {}
        for word in itertools.chain.from_iterable(text.split() for text in texts):
            counts[word] = counts.get(word, 0) + 1
        return cls(tuple(sorted(counts, key=lambda word: (-counts[word], word))))


@dataclass(frozen=True)
class Made:
    """A text that was made."""

    text: str
    parent: int | None
    """Index of the text it mostly comes from; None for words on their own."""
    way: str


class Augmenter:
    """Makes texts, one after the other, from a seed."""

    def __init__(self, texts: Sequence[str], lexicon: Lexicon, ways: Ways, *, seed: int) -> None:
        self._texts = [text.split() for text in texts]
        self._lexicon = lexicon
        self._ways = ways
        self._random = random.Random(seed)
        self._weights = list(itertools.accumulate(1 / (rank + RANK_OFFSET) for rank in range(len(lexicon.words))))

    def make(self, count: int) -> list[Made]:
        """`count` texts, none empty; the same seed makes the same ones."""
        return [self._one() for _ in range(count)]

    def _one(self) -> Made:
        ways, draw = self._ways, self._random.random()
        parent = self._random.randrange(len(self._texts))
        words = self._texts[parent]
        if draw < ways.whole:
            return Made(self._noisy(words), parent, "whole")
        if draw < ways.whole + ways.part:
            return Made(self._noisy(self._run(words, 0.2, 0.9)), parent, "part")
        if draw < ways.whole + ways.part + ways.joined:
            other = self._texts[self._random.randrange(len(self._texts))]
            return Made(self._noisy([*self._run(words, 0.25, 0.75), *self._run(other, 0.25, 0.75)]), parent, "joined")
        if draw < ways.whole + ways.part + ways.joined + ways.phrase:
            length = min(len(words), self._random.randint(2, ways.longest_phrase))
            start = self._random.randrange(len(words) - length + 1)
            run = words[start : start + length]
            return Made(self._noisy(run) if self._random.random() < 0.5 else " ".join(run), parent, "phrase")
        alone = [self._random.choice(self._lexicon.words) for _ in range(self._random.randint(1, 3))]
        return Made(" ".join(alone), None, "words")

    def _run(self, words: Sequence[str], least: float, most: float) -> Sequence[str]:
        length = min(len(words), max(1, round(len(words) * self._random.uniform(least, most))))
        start = self._random.randrange(len(words) - length + 1)
        return words[start : start + length]

    def _noisy(self, words: Sequence[str]) -> str:
        level = self._random.random() * self._ways.noise
        kept = [new for word in words if (new := self._replaced(word, level, len(words)))] or [words[0]]
        if len(kept) > 2 and self._random.random() < self._ways.exchanged:
            at = self._random.randrange(len(kept) - 1)
            kept[at], kept[at + 1] = kept[at + 1], kept[at]
        return " ".join(kept)

    def _replaced(self, word: str, level: float, count: int) -> str:
        ways, draw = self._ways, self._random.random()
        if draw < level * ways.replaced:
            alike = self._lexicon.alike.get(word.lower())
            return self._random.choice(alike) if alike else word
        if draw < level * (ways.replaced + ways.random):
            return self._any_word()
        if draw < level * (ways.replaced + ways.random + ways.dropped) and count > 2:
            return ""
        return word

    def _any_word(self) -> str:
        at = bisect.bisect_left(self._weights, self._random.random() * self._weights[-1])
        return self._lexicon.words[min(at, len(self._lexicon.words) - 1)]

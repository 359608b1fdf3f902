"""What is in a dataset, in numbers: sizes, duplicates, lengths, labels, leaks. Counts what is there and removes nothing.

The rules are those that `build` removes by (`duplicates`, `leaks`), so a version that was built has none of what they find; one
that was imported may. What the texts cover is `covering`'s.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from stillhouse.answers import final_answer
from stillhouse.curation.duplicates import EXACT, NEAR, without_duplicates
from stillhouse.curation.leaks import NEAR_LEAKS, Leak, find_leaks
from stillhouse.dataset import SPLITS, Example, Split
from stillhouse.prompts import normalise
from stillhouse.records import Record
from stillhouse.sample import expected
from stillhouse.transcript import message_text

LONGEST_LABEL = 64
"""Characters; what is longer is no label."""
ROWS_A_LABEL = 2
"""Rows of train that a label has on average, at least: where nearly every answer is its own, answers are no labels."""
SHOWN = 10


class Lengths(Record):
    """Characters of some texts: half are shorter than `median`, nineteen of twenty shorter than `p95`."""

    shortest: int
    median: int
    p95: int
    longest: int
    mean: float


class Duplicates(Record):
    """Rows that say again what another row of their split says; `build` would take them out."""

    exact: int
    near: int
    contradictions: int
    """Prompts that have several different answers within a split: several ways to say it, or mistakes."""


class Labels(Record):
    """How often each answer stands in train."""

    counts: dict[str, int]
    """The most frequent first."""
    evenness: float
    """Entropy of the labels / its largest value (Pielou 1966): 1 where all are as frequent, near 0 where one is nearly all."""
    majority: float
    """Share of the most frequent one: the accuracy of who always says it."""
    unseen: dict[Split, tuple[str, ...]]
    """Labels of valid and test that train never shows: no student will say them."""


class Description(Record):
    """Everything that can be counted without training anything."""

    counts: dict[Split, int]
    duplicates: Duplicates
    questions: dict[Split, Lengths]
    """Length of the last message, by split."""
    answers: dict[Split, Lengths]
    labels: Labels | None
    """None where answers are texts of their own."""
    leaks: int
    """Pairs of rows of two splits that ask the same, or nearly."""
    leak_pairs: tuple[Leak, ...]
    """The most alike."""


def describe(examples: Sequence[Example], near: float | None = NEAR_LEAKS) -> Description:
    """Count. `near`: likeness from which two texts are nearly the same; None: only equal ones are looked for."""
    leaks = find_leaks(examples, near)
    splits = {split: [each for each in examples if each.split == split] for split in SPLITS}
    there = {split: rows for split, rows in splits.items() if rows}
    return Description(
        counts={split: len(rows) for split, rows in splits.items()},
        duplicates=duplicates_of(examples, near),
        questions={split: lengths([_question(each) for each in rows]) for split, rows in there.items()},
        answers={split: lengths([each.answer for each in rows]) for split, rows in there.items()},
        labels=labels_of(examples),
        leaks=len(leaks),
        leak_pairs=tuple(leaks[:SHOWN]),
    )


def duplicates_of(examples: Sequence[Example], near: float | None) -> Duplicates:
    """How many rows `without_duplicates` would remove, and prompts that are answered in several ways."""
    _, removed = without_duplicates(examples, near)
    answers: dict[tuple[str, str], set[str]] = {}
    for example in examples:
        answers.setdefault((example.split, example.group), set()).add(normalise(example.answer))
    contradictions = sum(len(said) > 1 for said in answers.values())
    return Duplicates(exact=removed[EXACT], near=removed[NEAR], contradictions=contradictions)


def lengths(texts: Sequence[str]) -> Lengths:
    """Of one text at least."""
    ordered = sorted(map(len, texts))
    last = len(ordered) - 1
    return Lengths(
        shortest=ordered[0],
        median=ordered[last // 2],
        p95=ordered[math.ceil(0.95 * last)],
        longest=ordered[-1],
        mean=sum(ordered) / len(ordered),
    )


def labels_of(examples: Sequence[Example]) -> Labels | None:
    """The final answers as labels; None where they are none: too long, or as many as there are rows."""
    counts = Counter(label_of(each) for each in examples if each.split == "train")
    if not counts or counts.total() < ROWS_A_LABEL * len(counts) or max(map(len, counts)) > LONGEST_LABEL or "" in counts:
        return None
    later: dict[Split, tuple[str, ...]] = {}
    for split in SPLITS[1:]:
        unseen = {label_of(each) for each in examples if each.split == split} - counts.keys()
        if unseen:
            later[split] = tuple(sorted(unseen))
    total = counts.total()
    entropy = math.fsum(-count / total * math.log(count / total) for count in counts.values())
    ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return Labels(
        counts=ordered,
        evenness=entropy / math.log(len(counts)) if len(counts) > 1 else 1.0,
        majority=max(counts.values()) / total,
        unseen=later,
    )


def label_of(example: Example) -> str:
    """The final answer of what is expected."""
    return final_answer(expected(example))


def _question(example: Example) -> str:
    return message_text(example.messages[-1]) if example.messages else ""

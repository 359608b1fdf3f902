"""From what went wrong to what to learn next: failures, what they have in common, and the prompts of a pool that are like them.

The failed examples themselves are never among those: whatever shares a prompt group with the evaluated split is barred, or the
next evaluation would measure memory.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from stillhouse.dataset import Example
from stillhouse.evaluation.scoring import passed
from stillhouse.grade import Answered, Report
from stillhouse.prompts import normalise, prompt_hash
from stillhouse.records import Record
from stillhouse.transcript import message_text

GRAM = 3
"""Characters: works for Chinese as for English."""
COMMON = 0.2
"""Pieces that stand in more of the pool than this share say nothing about likeness: they are the template's."""


class Focus(Record):
    """What a model got wrong: enough to pick more of its kind, and kept in the recipe of the dataset that is made from it."""

    report: str
    """Its id."""
    model: str
    grader: str
    examples: tuple[str, ...]
    """Ids of the failed examples."""
    prompts: tuple[str, ...]
    """Their prompts' text, normalised."""
    labels: dict[str, int] = {}
    """Label -> failures."""
    metadata: dict[str, dict[str, int]] = {}
    """Key -> value -> failures."""
    barred: tuple[str, ...] = ()
    """Prompt groups of the whole evaluated split; none of them may be picked."""


def failures(rows: Iterable[Answered], *, model: str, grader: str) -> list[Answered]:
    """The rows of `model` that `grader` did not pass, those without an answer included."""
    return [row for row in rows if row.model == model and not passed(row, grader)]


def focus_on(report: Report, failed: Sequence[Answered], examples: Iterable[Example], *, model: str, grader: str) -> Focus:
    """What `failed` have in common. `examples` are all those of the evaluated split: every one of them is barred."""
    by_id = {example.id: example for example in examples}
    metadata: dict[str, Counter[str]] = {}
    for row in failed:
        for key, value in row.metadata.items():
            metadata.setdefault(key, Counter())[value] += 1
    return Focus(
        report=report.id,
        model=model,
        grader=grader,
        examples=tuple(row.example for row in failed),
        prompts=tuple(_text(by_id[row.example]) for row in failed if row.example in by_id),
        labels=dict(Counter(row.label for row in failed if row.label is not None).most_common()),
        metadata={key: dict(counts.most_common()) for key, counts in metadata.items()},
        barred=tuple(sorted({group for example in by_id.values() for group in _groups(example)})),
    )


def pick(focus: Focus, pool: Iterable[Example], *, per_failure: int = 10) -> list[Example]:
    """The examples of `pool` most like the failures, best first, none twice, none barred: up to `per_failure` for each failure.

    Likeness is the cosine of the prompts' character 3-grams weighted by how rare they are in the pool (tf-idf), so that what
    counts is the words in which a prompt differs from the others.
    """
    barred = frozenset(focus.barred)
    allowed = [example for example in pool if barred.isdisjoint(_groups(example))]
    index = _Index([_text(example) for example in allowed])
    best: dict[int, float] = {}
    for prompt in focus.prompts:
        for position, likeness in index.nearest(prompt, per_failure):
            best[position] = max(likeness, best.get(position, 0.0))
    return [allowed[position] for position in sorted(best, key=lambda position: (-best[position], position))]


class _Index:
    """Texts by their 3-grams."""

    def __init__(self, texts: Sequence[str]) -> None:
        grams = [Counter(_grams(text)) for text in texts]
        found_in = Counter(gram for counts in grams for gram in counts)
        most = max(COMMON * len(texts), 1)
        self.rarity = {gram: math.log(len(texts) / count) + 1 for gram, count in found_in.items() if count <= most}
        self.postings: dict[str, list[tuple[int, float]]] = {}
        for position, counts in enumerate(grams):
            for gram, weight in self._weigh(counts).items():
                self.postings.setdefault(gram, []).append((position, weight))

    def nearest(self, text: str, limit: int) -> list[tuple[int, float]]:
        """Positions and cosines of the likest texts, likest first; texts that share nothing are left out."""
        scores: dict[int, float] = {}
        for gram, weight in self._weigh(Counter(_grams(text))).items():
            for position, its in self.postings.get(gram, ()):
                scores[position] = scores.get(position, 0.0) + weight * its
        return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:limit]

    def _weigh(self, counts: Counter[str]) -> dict[str, float]:
        weights = {gram: count * self.rarity[gram] for gram, count in counts.items() if gram in self.rarity}
        length = math.sqrt(sum(weight**2 for weight in weights.values()))
        return {gram: weight / length for gram, weight in weights.items()}


def _grams(text: str) -> list[str]:
    return [text[start : start + GRAM] for start in range(max(1, len(text) - GRAM + 1))]


def _text(example: Example) -> str:
    return normalise("\n".join(message_text(message) for message in example.messages))


def _groups(example: Example) -> set[str]:
    """The group it was given and the one its prompt has: a pool may not have been split yet."""
    return {prompt_hash(example.messages), example.group} - {""}

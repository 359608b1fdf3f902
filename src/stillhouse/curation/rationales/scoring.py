"""How many completions come to the right answer, by a rule; every answer is extracted from the text anew.

published  the first candidate of the answer's completion is the gold answer, letter by letter (Kojima et al. 2022)
numeric    the same candidate, compared as its type is: numbers as numbers, thousands separators ignored on both sides
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from stillhouse.answers import published_equal
from stillhouse.curation.rationales.reading import Reading
from stillhouse.reasoning import Rationale
from stillhouse.reasoning.templates import place_of
from stillhouse.records import Record

Rule = Literal["numeric", "published"]
RULES: tuple[Rule, ...] = ("numeric", "published")


class Score(Record):
    """One file's figures."""

    dataset_key: str
    base_model: str
    completion_key: str
    n: int
    """Completions that have an answer's text: what `accuracy` is of."""
    correct: int
    accuracy: float
    """Percent."""
    rule: Rule
    finetune_key: str | None = None
    prediction_template: str | None = None
    questions: int
    no_candidate: int
    """Completions without anything that could be an answer; they count as wrong."""
    unmarked: int
    """Completions without the marker of their template; their last candidate counted."""
    incomplete: int
    """Rows that were never asked for an answer; not in `n`."""
    majority: float | None = None
    """Percent of questions whose most frequent answer is right (self-consistency); None where questions have one completion."""
    gold_from: str
    strangers: int
    file: str


def right(rationale: Rationale, rule: Rule = "numeric") -> bool:
    """Whether the answer it comes to is the gold answer."""
    said = rationale.said
    if said is None:
        return False
    return published_equal(said, rationale.answer) if rule == "published" else rationale.answers.equal(said, rationale.answer)


def score(reading: Reading, rule: Rule = "numeric") -> Score:
    """Pure; `reading` is one file."""
    complete = [rationale for rationale in reading.rationales if rationale.completion is not None]
    correct = sum(right(rationale, rule) for rationale in complete)
    place = place_of(reading.completions.template)
    return Score(
        dataset_key=reading.task.key,
        base_model=reading.base_model,
        completion_key=reading.completion_key,
        n=len(complete),
        correct=correct,
        accuracy=100 * correct / len(complete) if complete else 0.0,
        rule=rule,
        finetune_key=reading.finetune_key,
        prediction_template=reading.completions.template,
        questions=len(reading.completions.by_sample),
        no_candidate=sum(rationale.said is None for rationale in complete),
        unmarked=sum(not place.marked(rationale.completion or "") for rationale in complete),
        incomplete=len(reading.rationales) - len(complete),
        majority=_majority(complete, rule),
        gold_from=reading.gold_from,
        strangers=reading.strangers,
        file=str(reading.path),
    )


def votes(rationales: Sequence[Rationale]) -> dict[str, list[Rationale]]:
    """Canonical answer -> the rationales that come to it, the most frequent first, ties in the order they came."""
    counted: defaultdict[str, list[Rationale]] = defaultdict(list)
    for rationale in rationales:
        if rationale.said is not None:
            counted[rationale.answers.canonical(rationale.said)].append(rationale)
    return dict(sorted(counted.items(), key=lambda item: -len(item[1])))


def by_question(rationales: Sequence[Rationale]) -> list[list[Rationale]]:
    """Put together by `sample_index`, in order."""
    groups: defaultdict[str, list[Rationale]] = defaultdict(list)
    for rationale in rationales:
        groups[str(rationale.sample)].append(rationale)
    return list(groups.values())


def _majority(complete: Sequence[Rationale], rule: Rule) -> float | None:
    groups = by_question(complete)
    if not groups or len(groups) == len(complete):
        return None
    leaders = [next(iter(votes(group).values()), None) for group in groups]
    return 100 * sum(leader is not None and right(leader[0], rule) for leader in leaders) / len(groups)

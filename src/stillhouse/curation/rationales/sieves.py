"""Which rationales are kept: one sieve after the other, each row that goes is put aside with the reason, none disappears.

A sieve sees only what those before it kept, and says for each why it goes, or None. Sieves that look at the other rationales of
a question (votes, duplicates) get them all.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from stillhouse.answers.final import stated_answer
from stillhouse.curation.rationales.scoring import Rule, by_question, right, votes
from stillhouse.curation.similarity import gram_hashes, shared_grams
from stillhouse.dataset import Example
from stillhouse.grade import Grader, GradingError
from stillhouse.prompts import normalise
from stillhouse.reasoning import Rationale
from stillhouse.sample import item_of, sample_of

Sieve = Callable[[Sequence[Rationale]], "Sequence[str | None] | Awaitable[Sequence[str | None]]"]
"""Rationales in, a reason or None for each out, in order."""

JUDGED_AT_ONCE = 8
LEAKABLE = 4
"""Characters from which on a free answer that stands in its question counts as leaked."""


@dataclass
class Sifted:
    """What was kept, and what was not, with the reason."""

    kept: list[Rationale] = field(default_factory=list)
    put_aside: list[tuple[Rationale, str]] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Reason -> rationales, the most frequent first."""
        return dict(Counter(reason for _, reason in self.put_aside).most_common())


async def sift(rationales: Sequence[Rationale], sieves: Sequence[Sieve]) -> Sifted:
    """Kept and put aside together are what came in; the order stays."""
    sifted = Sifted(kept=list(rationales))
    for sieve in sieves:
        found = sieve(sifted.kept)
        reasons = await found if isinstance(found, Awaitable) else found
        pairs = list(zip(sifted.kept, reasons, strict=True))
        sifted.kept = [rationale for rationale, reason in pairs if reason is None]
        sifted.put_aside += [(rationale, reason) for rationale, reason in pairs if reason is not None]
    return sifted


def complete(rationales: Sequence[Rationale]) -> list[str | None]:
    """Rows that were never asked for an answer go."""
    return ["no answer was asked for" if each.completion is None else None for each in rationales]


def right_answer(rule: Rule = "numeric") -> Sieve:
    """Only those that come to the gold answer stay: the filter of Ho et al. 2023."""

    def sieve(rationales: Sequence[Rationale]) -> list[str | None]:
        return [None if right(each, rule) else _why_not(each) for each in rationales]

    return sieve


def majority_vote(share: float = 0.0) -> Sieve:
    """Where there is no gold answer: those that come to their question's most frequent answer stay (Wang et al. 2023).

    The answer must have more votes than any other, and more than `share` of the question's.
    """

    def sieve(rationales: Sequence[Rationale]) -> list[str | None]:
        reasons: dict[int, str] = {}
        for group in by_question(rationales):
            counted = votes(group)
            sizes = [len(voters) for voters in counted.values()]
            tied = len(sizes) > 1 and sizes[0] == sizes[1]
            weak = bool(sizes) and sizes[0] <= share * len(group)
            leader = next(iter(counted.values()), [])
            elected = {id(each) for each in leader}
            for each in group:
                if each.said is None:
                    reasons[id(each)] = "no answer to be found"
                elif tied or weak:
                    reasons[id(each)] = "its question's votes are tied" if tied else "its question's majority is too small"
                elif id(each) not in elected:
                    reasons[id(each)] = "not the majority's answer"
        return [reasons.get(id(each)) for each in rationales]

    return sieve


def judged(grader: Grader) -> Sieve:
    """A grader decides: a judge that reads the reasoning, Python that checks the answer, any other."""

    turns = asyncio.Semaphore(JUDGED_AT_ONCE)

    async def reason(rationale: Rationale) -> str | None:
        async with turns:
            try:
                grade = await grader.grade(item_of(_example(rationale)), sample_of(_answer(rationale)))
            except GradingError:  # no verdict is not a bad one, but no reason to learn from it either
                return f"could not be graded by '{grader.name}'"
        return None if grade.passed else f"not passed by '{grader.name}'"

    async def sieve(rationales: Sequence[Rationale]) -> list[str | None]:
        return await asyncio.gather(*map(reason, rationales))

    return sieve


def length(shortest: int = 0, longest: int | None = None) -> Sieve:
    """Characters of the reasoning."""

    def sieve(rationales: Sequence[Rationale]) -> list[str | None]:
        sizes = [len(each.reasoning.strip()) for each in rationales]
        too_long = [longest is not None and size > longest for size in sizes]
        return [
            "reasoning too short" if size < shortest else "reasoning too long" if long else None
            for size, long in zip(sizes, too_long, strict=True)
        ]

    return sieve


def duplicates(near: float | None = None) -> Sieve:
    """Of rationales of one question that say the same, the first stays; from similarity `near` on (0 to 1) they say the same."""

    def sieve(rationales: Sequence[Rationale]) -> list[str | None]:
        reasons: dict[int, str] = {}
        for group in by_question(rationales):
            texts: list[str] = []
            for each in group:
                text = normalise(each.reasoning)
                if text in texts:
                    reasons[id(each)] = "duplicate reasoning"
                elif near is not None and any(shared_grams(gram_hashes(text), gram_hashes(other)) >= near for other in texts):
                    reasons[id(each)] = "nearly the same reasoning"
                else:
                    texts.append(text)
        return [reasons.get(id(each)) for each in rationales]

    return sieve


def truncated(rationales: Sequence[Rationale]) -> list[str | None]:
    """Reasoning that a token limit cut off goes."""
    return ["reasoning cut off" if each.cut_off else None for each in rationales]


def leaked(rationales: Sequence[Rationale]) -> list[str | None]:
    """Questions that say their answer go: behind an "answer is" or "answer:", or, if it is a longer free text, anywhere."""
    return ["the question says its answer" if _leaks(each) else None for each in rationales]


def _leaks(rationale: Rationale) -> bool:
    question, answer, kind = rationale.question, rationale.answer, rationale.answers
    if not answer:
        return False
    stated = stated_answer(question)
    said = [] if stated is None else kind.candidates(stated)
    if said and kind.equal(said[0], answer):
        return True
    free = kind.name in ("text", "letters", "latex") and len(answer) >= LEAKABLE
    return free and f" {normalise(answer)} " in f" {normalise(question).translate(_WORDS)} "


_WORDS = str.maketrans(dict.fromkeys("\"'.,:;?!()[]", " "))


def _why_not(rationale: Rationale) -> str:
    if rationale.completion is None:
        return "no answer was asked for"
    if not rationale.answer:
        return "nobody knows the right answer"
    return "no answer to be found" if rationale.said is None else "wrong answer"


def _answer(rationale: Rationale) -> str:
    steps = rationale.reasoning.strip()
    return f"{steps}\nThe answer is {rationale.said}." if rationale.said is not None else steps


def _example(rationale: Rationale) -> Example:
    messages = [{"role": "user", "content": rationale.question}]
    identity = f"{rationale.sample}/{rationale.index}"
    return Example(id=identity, messages=messages, answer=rationale.answer, reference=rationale.answer or None)

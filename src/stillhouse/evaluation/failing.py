"""From what went wrong to what to learn next: the failures of a report, and what they have in common.

Which prompts of a pool are like them, and that none of the evaluated rows is learned, is `curation`'s affair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from stillhouse.dataset import Example
from stillhouse.evaluation.scoring import graded, passed
from stillhouse.grade import Answered, Report
from stillhouse.records import Record
from stillhouse.transcript import message_text


class Focus(Record):
    """What a model got wrong: a dataset filter. Its prompts lead to questions like them; they are never taught themselves."""

    report: str
    """Its id."""
    model: str
    grader: str
    examples: tuple[str, ...]
    """Ids of the failed examples."""
    prompts: tuple[str, ...]
    """The text of their prompts."""
    labels: dict[str, int] = {}
    """Label -> failures, most first."""
    metadata: dict[str, dict[str, int]] = {}
    """Key -> value -> failures, most first."""


def failures(rows: Iterable[Answered], *, model: str, grader: str) -> list[Answered]:
    """The rows of `model` that `grader` did not pass, those without an answer included, those it could not grade not."""
    return [row for row in graded([row for row in rows if row.model == model], grader) if not passed(row, grader)]


def focus_on(report: Report, failed: Sequence[Answered], examples: Iterable[Example], *, model: str, grader: str) -> Focus:
    """What `failed` have in common. `examples` are those of the evaluated split."""
    prompts = {example.id: example.messages for example in examples}
    metadata: dict[str, Counter[str]] = {}
    for row in failed:
        for key, value in row.metadata.items():
            metadata.setdefault(key, Counter())[value] += 1
    return Focus(
        report=report.id,
        model=model,
        grader=grader,
        examples=tuple(row.example for row in failed),
        prompts=tuple("\n".join(map(message_text, prompts[row.example])) for row in failed if row.example in prompts),
        labels=dict(Counter(row.label for row in failed if row.label is not None).most_common()),
        metadata={key: dict(counts.most_common()) for key, counts in metadata.items()},
    )

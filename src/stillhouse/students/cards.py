"""What the weights of a student that reads texts do not say: what it answers, with which labels, how long a text may be.

A card is made of a recipe, a train split and perhaps a teacher, lies beside the weights as `student.json`, and never changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError, UsageError
from stillhouse.records import Record
from stillhouse.students.labels import LabelSet, gathered
from stillhouse.students.options import Objective, ReadingOptions
from stillhouse.students.texts import label_of, labels_of_words, task_of_example

CARD = "student.json"


class Card(Record):
    """Of any kind; the kinds add what they are made of."""

    objective: Objective = "classification"
    labels: LabelSet = LabelSet(by_task={})
    separator: str = "\n"
    max_length: int | None = None

    @property
    def size(self) -> int:
        """V: scores a row has."""
        return 1 if self.objective == "regression" else len(self.labels.names)


CardKind = TypeVar("CardKind", bound=Card)


def card_of(
    kind: type[CardKind], options: ReadingOptions, examples: Sequence[Example] | None, teacher: Any, **more: Any
) -> CardKind:
    """The card of a student to be built. Its labels: the recipe's; the teacher's, if they hold the train split's; the latter.

    Raises RecipeError where none are known, TrainingError for an example of the train split without one.
    """
    labels = LabelSet(by_task={}) if options.objective == "regression" else _labels(options, examples, teacher)
    shared = {"objective": options.objective, "separator": options.separator, "max_length": options.max_length}
    return kind(labels=labels, **shared, **more)


def load_card(kind: type[CardKind], folder: Path) -> CardKind:
    """Raises UsageError where it is missing or cannot be read."""
    try:
        return kind.model_validate_json((folder / CARD).read_bytes())
    except FileNotFoundError as exc:
        raise UsageError(f"{folder} holds no student that reads texts: {CARD} is missing.") from exc
    except ValidationError as exc:
        raise UsageError(f"{folder / CARD} cannot be read: {exc.errors()[0]['msg']} at {exc.errors()[0]['loc']}.") from exc


def _labels(options: ReadingOptions, examples: Sequence[Example] | None, teacher: Any) -> LabelSet:
    if options.labels:
        return LabelSet(by_task={"": options.labels})
    card = getattr(teacher, "card", None)
    known = card.labels if isinstance(card, Card) else None
    if examples is None:
        if known is None or not known.names:
            raise RecipeError("This student's labels are not known: set [student.config] labels, or give it a train split.")
        return known
    found = gathered(answer for example in examples for answer in _answers(options, example))
    return known if known is not None and set(found.names) <= set(known.names) else found


def _answers(options: ReadingOptions, example: Example) -> list[tuple[str, str]]:
    task = task_of_example(example) if options.heads == "task" else ""
    if options.heads == "task" and not task:
        raise RecipeError(
            f'[student.config] heads = "task": the example {example.id} names none (its metadata, or a system message).'
        )
    names = labels_of_words(example.answer) if options.objective == "tokens" else [label_of(example)]
    return [(task, name) for name in names]

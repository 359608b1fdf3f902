"""What a student that reads texts sees of a chat, and what it learns of an answer: texts, pairs and words; labels and numbers.

Taught and asked alike, because both come through here. How texts become tokens is `reading.py`'s affair.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence

from stillhouse.chat import Message
from stillhouse.dataset import Example
from stillhouse.errors import TrainingError, UsageError
from stillhouse.generation import text_of
from stillhouse.students.base import last_user_text


def pair_of(chat: Sequence[Message], separator: str) -> tuple[str, str]:
    """The two texts of a pair: the last user message, cut at the first `separator`; or the last two user messages.

    Raises UsageError where there is neither.
    """
    text = last_user_text(chat)
    first, found, second = text.partition(separator)
    if found:
        return first.strip(), second.strip()
    texts = [text_of(message) for message in chat if message.get("role") == "user"]
    if len(texts) < 2:
        raise UsageError(
            f"This student reads two texts: in one message, {separator!r} between them, or in two user messages. Got one."
        )
    return texts[-2], texts[-1]


def words_of(text: str) -> list[tuple[int, int]]:
    """Where each word begins and ends; words are what white space separates."""
    return [match.span() for match in re.finditer(r"\S+", text)]


def task_of(chat: Sequence[Message]) -> str:
    """The task a chat names: the text of its last system message, empty where there is none."""
    return next((text_of(message).strip() for message in reversed(chat) if message.get("role") == "system"), "")


def task_of_example(example: Example) -> str:
    """The task an example is of: its metadata's `task`, or what its system message names."""
    return example.metadata.get("task") or task_of(example.messages)


def naming_task(example: Example) -> list[Message]:
    """Its chat as a student of several tasks is asked: with the task in a system message, where only the metadata says it."""
    task = task_of_example(example)
    return example.messages if task == task_of(example.messages) else [{"role": "system", "content": task}, *example.messages]


def label_of(example: Example) -> str:
    """The label it teaches. Raises TrainingError where the answer is empty."""
    label = example.answer.strip()
    if not label:
        raise TrainingError(f"The example {example.id} has no label to learn: its answer is empty. Remove it from the dataset.")
    return label


def labels_of_words(answer: str) -> list[str]:
    """One label a word: a JSON list, or labels with white space between them."""
    if answer.lstrip().startswith("["):
        try:
            labels = json.loads(answer)
        except ValueError:
            labels = None
        if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
            return labels
    return answer.split()


def written_labels(labels: Sequence[str]) -> str:
    """The answer of a student that labels words: labels with a space between them; a JSON list where one holds white space."""
    return " ".join(labels) if all(len(label.split()) == 1 for label in labels) else json.dumps(list(labels), ensure_ascii=False)


def number_of(example: Example) -> float:
    """The number it teaches. Raises TrainingError where the answer is none."""
    try:
        number = float(example.answer.strip())
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise TrainingError(
            f"The example {example.id} has no number to learn: its answer is {example.answer[:60]!r}. "
            'Remove it, or set [student.config] objective = "classification" to learn labels.'
        )
    return number


def written_number(number: float) -> str:
    """Six significant digits."""
    return f"{number:.6g}"

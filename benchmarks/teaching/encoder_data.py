"""What encoders learn from and are measured on: a file of labelled texts, split, once with a second task beside it."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stillhouse.dataset import Example

SOURCE = Path(__file__).parents[3] / "shared" / "data" / "banking77" / "train.csv"
INTENT, FAMILY = "intent", "family"
"""Two tasks of the same texts: their label, and its first word."""


def examples_of(count: int) -> list[Example]:
    """`count` to learn from, 300 to watch, the rest of the file to measure on; in an order that is the same every time."""
    with SOURCE.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    random.Random(0).shuffle(rows)
    splits: list[tuple[Any, list[tuple[str, str]]]] = [
        ("train", rows[:count]),
        ("valid", rows[8000:8300]),
        ("test", rows[8300:]),
    ]
    return [_example(f"{split}-{i}", text, label, split) for split, part in splits for i, (text, label) in enumerate(part)]


def _example(name: str, text: str, label: str, split: Any, task: str = INTENT) -> Example:
    messages: Any = [{"role": "user", "content": text}]
    return Example(id=name, messages=messages, answer=label, split=split, metadata={"task": task})


def with_families(examples: Iterable[Example]) -> list[Example]:
    """The same, and the train split once more with the labels' first words."""
    found = list(examples)
    texts = [(example.id, str(example.messages[-1]["content"]), example.answer) for example in found if example.split == "train"]
    return [*found, *(_example(f"{name}-family", text, label.split("_")[0], "train", FAMILY) for name, text, label in texts)]

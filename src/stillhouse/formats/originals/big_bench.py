"""BIG-bench's `task.json`: `examples` of `input` and `target_scores`, a choice each and 1 for the right one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from stillhouse.formats.originals.base import Pair, examples_of, find, letter_of, pairs, with_choices


class DateUnderstanding:
    """The right choice comes first in the file; Kojima et al. shuffle, twice a question, from seed 1."""

    def read(self, folder: Path) -> Iterator[Pair]:
        path = find(folder, "date_understanding/task.json", "Bigbench_Date/task.json", "date_understanding.json")
        yield from pairs(path, examples_of(path), partial(_shuffled, random.Random(1)))


class TrackingShuffledObjects:
    """Three objects: as many choices as the paper has."""

    def read(self, folder: Path) -> Iterator[Pair]:
        place = "tracking_shuffled_objects/three_objects/task.json"
        path = find(
            folder, place, "three_objects/task.json", "Bigbench_object_tracking/task.json", "tracking_shuffled_objects.json"
        )
        yield from pairs(path, examples_of(path), _tracked)


def _shuffled(rng: random.Random, row: Any) -> Pair:
    choices = list(row["target_scores"])
    for _ in range(2):
        rng.shuffle(choices)
    right = letter_of([row["target_scores"][choice] == 1 for choice in choices])
    return Pair(f"{row['input'].strip()} {with_choices(choices)}", right)


def _tracked(row: Any) -> Pair:
    scores = row["target_scores"]
    lead = "\nWhich choice is true ? Answer Choices:"
    return Pair(f"{row['input'].strip()} {with_choices(scores, lead)}", letter_of([score == 1 for score in scores.values()]))

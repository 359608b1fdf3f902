"""StrategyQA (Geva et al. 2021): BIG-bench's `task.json`, which the papers use, or the owners' list."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.formats.originals.base import Pair, examples_of, find, json_of, pairs


class StrategyQA:
    def read(self, folder: Path) -> Iterator[Pair]:
        """BIG-bench's file where it is there: its 2,290 questions are those of the paper."""
        path = find(folder, "strategyqa/task.json", "StrategyQA/task.json", "strategyqa_train.json")
        if path.name == "task.json":
            yield from pairs(path, examples_of(path), _scored)
        else:
            yield from pairs(path, json_of(path), _stated)


def _scored(row: Any) -> Pair:
    return Pair(row["input"].strip(), "yes" if int(row["target_scores"]["Yes"]) == 1 else "no")


def _stated(row: Any) -> Pair:
    if not isinstance(row["answer"], bool):
        raise ValueError("'answer' is neither true nor false")
    return Pair(row["question"].strip(), "yes" if row["answer"] else "no")

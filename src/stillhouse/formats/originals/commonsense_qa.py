"""CommonsenseQA (Talmor et al. 2019): JSON lines of `question` (`stem`, `choices`) and `answerKey`; train, then dev.

The test file has no answers; dev is what the papers test on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.formats.originals.base import Pair, find, json_lines, pairs


class CommonsenseQA:
    def read(self, folder: Path) -> Iterator[Pair]:
        for name in ("train_rand_split.jsonl", "dev_rand_split.jsonl"):
            path = find(folder, name)
            yield from pairs(path, json_lines(path), _pair)


def _pair(row: Any) -> Pair:
    asked = row["question"]
    choices = "".join(f" ({choice['label']}) {choice['text']}" for choice in asked["choices"])
    return Pair(f"{asked['stem'].strip()} Answer Choices:{choices}", row["answerKey"])

"""GSM8K (Cobbe et al. 2021): JSON lines of `question` and `answer`, the number behind `####`; train, then test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.formats.originals.base import Pair, find, json_lines, pairs


class GSM8K:
    def read(self, folder: Path) -> Iterator[Pair]:
        for name in ("train.jsonl", "test.jsonl"):
            path = find(folder, f"grade_school_math/data/{name}", f"grade-school-math/{name}", name)
            yield from pairs(path, json_lines(path), _pair)


def _pair(row: Any) -> Pair:
    steps, mark, answer = row["answer"].rpartition("#### ")
    if not mark:
        raise ValueError("no answer behind ####")
    return Pair(row["question"].strip(), answer.strip(), steps.strip())

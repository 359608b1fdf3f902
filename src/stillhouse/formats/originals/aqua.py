"""AQuA (Ling et al. 2017): JSON lines of `question`, `options` ("A)21"), `rationale`, `correct`; train, then test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.formats.originals.base import Pair, find, json_lines, pairs


class Aqua:
    def read(self, folder: Path) -> Iterator[Pair]:
        """The dev file is in neither part, as in the paper."""
        for names in (("AQuA/train.json", "train.json"), ("AQuA/test.json", "test.json")):
            path = find(folder, *names)
            yield from pairs(path, json_lines(path), _pair)


def _pair(row: Any) -> Pair:
    options = "(" + "(".join(row["options"])  # brackets within an option are spaced too, as in Kojima et al.
    choices = options.replace("(", " (").replace(")", ") ")
    return Pair(f"{row['question'].strip()} Answer Choices:{choices}", row["correct"], row.get("rationale"))

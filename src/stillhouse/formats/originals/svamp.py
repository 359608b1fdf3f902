"""SVAMP (Patel et al. 2021): a JSON list of `Body`, `Question` and `Answer`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.formats.originals.base import Pair, find, json_of, number_text, pairs


class Svamp:
    def read(self, folder: Path) -> Iterator[Pair]:
        path = find(folder, "SVAMP.json")
        yield from pairs(path, json_of(path), _pair)


def _pair(row: Any) -> Pair:
    return Pair(f"{row['Body'].strip()} {row['Question'].strip()}", number_text(row["Answer"]))

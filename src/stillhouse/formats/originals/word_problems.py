"""MultiArith, AddSub, SingleEq: a JSON list of `sQuestion` and `lSolutions`, as MAWPS and its forerunners publish them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.formats.originals.base import Pair, find, json_of, number_text, pairs


class WordProblems:
    """The three differ in their file's name alone."""

    names: tuple[str, ...]

    def read(self, folder: Path) -> Iterator[Pair]:
        path = find(folder, *self.names)
        yield from pairs(path, json_of(path), _pair)


class MultiArith(WordProblems):
    names = ("MultiArith.json", "MultiArith/questions.json")


class AddSub(WordProblems):
    names = ("AddSub.json", "AddSub/questions.json")


class SingleEq(WordProblems):
    names = ("SingleEq/questions.json", "SingleEq.json", "questions.json")


def _pair(row: Any) -> Pair:
    return Pair(row["sQuestion"].strip(), number_text(row["lSolutions"][0]))

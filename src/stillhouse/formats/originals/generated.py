"""Coin flip and last letters as Kojima et al. 2022 publish theirs: `examples` of `question` and `answer`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.formats.originals.base import Pair, examples_of, find, pairs


class CoinFlip:
    def read(self, folder: Path) -> Iterator[Pair]:
        path = find(folder, "coin_flip.json")
        yield from pairs(path, examples_of(path), _pair)


class LastLetters:
    def read(self, folder: Path) -> Iterator[Pair]:
        path = find(folder, "last_letters.json")
        yield from pairs(path, examples_of(path), _pair)


def _pair(row: Any) -> Pair:
    return Pair(row["question"], row["answer"])

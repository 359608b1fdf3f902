"""What the readers of original files share: finding a file, its rows one by one, a choice as the papers write it.

A row that cannot be read ends the reading, with its number: questions are known by their place in the file, and one left out
would move all that follow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stillhouse.errors import FormatError, NotFoundError


class Pair(NamedTuple):
    """One question as a model is asked it."""

    question: str
    answer: str
    rationale: str | None = None
    """Where the owners explain the answer."""


def find(folder: Path, *names: str) -> Path:
    """The first of these files in the folder, or in a folder in it: `task.json` or `AQuA/test.json`. Raises NotFoundError."""
    for name in names:
        parts = Path(name).parts
        found = sorted(path for path in folder.rglob(parts[-1]) if path.parts[-len(parts) :] == parts)
        if found:
            return found[0]
    raise NotFoundError(f"{folder} holds none of {', '.join(names)}. Give the folder the files were downloaded to.")


def json_of(path: Path) -> Any:
    """Raises FormatError."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as exc:
        raise FormatError(f"{path} is not a JSON file: {exc}.") from exc


def json_lines(path: Path) -> list[Any]:
    """Raises FormatError. Empty lines do not count."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except (OSError, ValueError) as exc:
        raise FormatError(f"{path} is not a file of JSON lines: {exc}.") from exc


def pairs(path: Path, rows: Any, make: Callable[[Any], Pair]) -> Iterator[Pair]:
    """What `make` makes of every row of a list. Raises FormatError with the number of a row that it cannot read."""
    if not isinstance(rows, list):
        raise FormatError(f"{path} does not hold a list of questions where one is wanted.")
    for number, row in enumerate(rows, start=1):
        try:
            yield make(row)
        except (KeyError, TypeError, IndexError, ValueError, AttributeError) as exc:
            raise FormatError(f"{path}, row {number}, lacks what its task needs: {type(exc).__name__} {exc}.") from exc


def examples_of(path: Path) -> Any:
    """The list under `examples`, as BIG-bench and the generated tasks have it. Raises FormatError."""
    content = json_of(path)
    return content.get("examples") if isinstance(content, dict) else None


def with_choices(options: Iterable[str], lead: str = "Answer Choices:") -> str:
    """`Answer Choices: (A) one (B) two`."""
    return lead + "".join(f" ({letter}) {option}" for letter, option in zip(_LETTERS, options, strict=False))


def letter_of(right: Sequence[bool]) -> str:
    """The letter of the right choice; of several the last, as the papers read them. Raises ValueError where none is."""
    places = [place for place, one in enumerate(right) if one]
    if not places:
        raise ValueError("no choice is right")
    return _LETTERS[places[-1]]


def number_text(value: Any) -> str:
    """`6.0` -> `6`: as the papers write gold answers. Raises ValueError for what is no number."""
    if isinstance(value, str):
        float(value.replace(",", ""))
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    return str(value).removesuffix(".0")


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

"""The labels that texts are to be given: their names, each perhaps with words on what it means, from a file or a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from stillhouse.errors import UsageError
from stillhouse.records import Record

LONGEST = 200
"""Characters of a name."""


def folded(name: str) -> str:
    """What names have in common that differ by case, spaces, `_` and `-`, and by quotes and stops around them."""
    plain = name.casefold().replace("_", " ").replace("-", " ")
    return " ".join(plain.split()).strip(" \"'`*.,;:!?()[]{}<>“”‘’「」。")


class LabelNames(Record):
    """Names in the order they were given."""

    names: tuple[str, ...] = Field(min_length=2)
    meanings: dict[str, str] = {}
    """Name -> what it means, for the teacher."""

    @field_validator("names")
    @classmethod
    def _can_be_told_apart(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not folded(name) or len(name) > LONGEST or name != name.strip() or not name.isprintable():
                raise ValueError(f"{name[:40]!r} is no label: a line of text, {LONGEST} characters at most")
        twice = [name for name, count in Counter(map(folded, names)).items() if count > 1]
        if twice:
            alike = [name for name in names if folded(name) == twice[0]]
            raise ValueError(f"{' and '.join(map(repr, alike))} cannot be told apart in an answer")
        return names

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]  # of the names, not of the fields
        return iter(self.names)


def read_labels(said: str) -> LabelNames:
    """From a file, a label a line, behind a tab what it means; or from the names themselves, with commas between them.

    Raises UsageError.
    """
    path = Path(said)
    if path.is_file():
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except ValueError as exc:
            raise UsageError(f"{said} is not text in UTF-8: {exc}.") from exc
    elif "," in said:
        lines = said.split(",")
    else:
        raise UsageError(f"There is no file {said} with a label a line; to name them here, put commas between them: yes,no")
    pairs = [line.partition("\t") for line in lines if line.strip()]
    meanings = {name.strip(): meaning.strip() for name, _, meaning in pairs if meaning.strip()}
    try:
        return LabelNames(names=tuple(name.strip() for name, _, _ in pairs), meanings=meanings)
    except ValidationError as exc:
        raise UsageError(f"The labels of {said[:80]} cannot be used: {exc.errors()[0]['msg']}.") from exc

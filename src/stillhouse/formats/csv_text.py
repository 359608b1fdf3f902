"""A table of labelled texts: CSV with the columns `text` and `category`, one question and its right answer a row.

The text becomes the user's message, the category the answer and the reference; every other column becomes metadata. The module
is not called `csv`, which is the parser it stands on.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from stillhouse.dataset import Example, Split
from stillhouse.errors import FormatError, UsageError
from stillhouse.formats.base import Line, Quarantined, Row, check_encoding, quarantine, read_lines, too_long, unstorable
from stillhouse.transcript import message_text

TEXT, CATEGORY = "text", "category"
MAX_RECORD_LINES = 1000
"""A quoted field may hold line breaks; past this many lines, its quote counts as never closed."""
SEPARATORS = (";", "\t")
"""What stands between fields where commas do not: in exports of spreadsheets."""
NEVER_CLOSED = "a quote is opened and never closed"


class CsvText:
    """Reads and writes `text,category`. `bom` marks written files as UTF-8 for Excel.

    With `labelled=False` it reads texts whose categories may be missing, whole or in places: from the column `text`, or the one
    column that there is, or the one that `column` names.
    """

    def __init__(self, *, bom: bool = False, labelled: bool = True, column: str = TEXT) -> None:
        self.bom = bom
        self._labelled, self._column = labelled, column.strip().lower()

    def read(self, path: Path, *, encoding: str = "utf-8") -> Iterator[Row | Quarantined]:
        """Row by row; a row that spans lines has the number of its first. Raises NotFoundError, FormatError, UsageError."""
        lines = _Lines(read_lines(path), check_encoding(encoding))
        header = _header(lines, path) if self._labelled else _texts_header(lines, path, self._column)
        needed = (TEXT, CATEGORY) if self._labelled else (TEXT,)
        for number, fields in _records(lines):
            yield fields if isinstance(fields, Quarantined) else _row(number, header, fields, encoding, needed)

    def write(self, examples: Iterable[Example], path: Path) -> int:
        """`text,category` and the metadata's columns. Raises UsageError for an example that is more than one question."""
        rows = [(_question(example), example) for example in examples]
        columns = sorted({key for _, example in rows for key in example.metadata} - {TEXT, CATEGORY})
        with path.open("w", encoding="utf-8-sig" if self.bom else "utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\r\n")  # RFC 4180; with a bare \n, fields that hold \r go unquoted
            writer.writerow([TEXT, CATEGORY, *columns])
            for text, example in rows:
                writer.writerow([text, example.answer, *(example.metadata.get(column, "") for column in columns)])
        return len(rows)

    def file_name(self, split: Split) -> str:
        return f"{split}.csv"


class _Lines:
    """Decoded lines for the CSV parser, which remembers what the current record took so that it can be given back."""

    def __init__(self, lines: Iterator[Line], encoding: str) -> None:
        self._lines = lines
        self._encoding = encoding
        self._ahead: deque[Line] = deque()
        self.taken: list[Line] = []
        self.separator = ","

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if len(self.taken) >= MAX_RECORD_LINES:
            raise csv.Error(NEVER_CLOSED)
        line = self._ahead.popleft() if self._ahead else next(self._lines)
        self.taken.append(line)
        if line.too_long:
            raise csv.Error(NEVER_CLOSED)
        # Bytes that are not of the encoding become surrogates: the row is put aside later, the others are read on.
        return line.content.decode(self._encoding, "surrogateescape") + "\n"

    def start(self) -> None:
        """A new record begins."""
        self.taken = []

    def first_text(self) -> str:
        """The record's first line, without what ends it."""
        return self.taken[0].content.decode(self._encoding, "replace").removeprefix("\ufeff").rstrip("\r\n")

    def keep_first_only(self) -> Line:
        """Give back all that the record took except its first line."""
        first, *rest = self.taken
        self._ahead.extendleft(reversed(rest))
        return first


def _records(lines: _Lines) -> Iterator[tuple[int, list[str] | Quarantined]]:
    """First line's number and fields of each record. After a broken one, reading goes on with the line below its first."""
    while True:
        lines.start()
        try:
            # A parser for each record: after an error the old one would go on in the middle of a quoted field.
            fields = next(csv.reader(lines, strict=True, delimiter=lines.separator))
        except StopIteration:
            return
        except csv.Error as exc:
            first = lines.keep_first_only()
            yield first.number, too_long(first) if first.too_long else quarantine(first.number, _reason(exc), first.content)
        else:
            yield lines.taken[0].number, fields


def _header(lines: _Lines, path: Path) -> list[str]:
    """The columns' names. Where the first line says `sep=;`, or has both names between semicolons or tabs, so have the others."""
    for number, fields in _records(lines):
        names = [] if isinstance(fields, Quarantined) else [name.strip().lower() for name in fields]
        if names.count(TEXT) == names.count(CATEGORY) == 1:
            return names
        first = lines.first_text()
        if number == 1 and first.lower().startswith("sep=") and first[4:5].strip("\r\n\"'"):
            lines.separator = first[4]
            continue
        for separator in SEPARATORS:
            names_so = [name.strip().strip('"').lower() for name in first.split(separator)]
            if names_so.count(TEXT) == names_so.count(CATEGORY) == 1:
                lines.separator = separator
                return names_so
        raise FormatError(
            f"{path.name} needs a first line that names the columns '{TEXT}' and '{CATEGORY}' once each, as in "
            f"`{TEXT},{CATEGORY}`; got {names or first[:80]!r}. Rename the columns with the questions and the labels so."
        )
    raise FormatError(f"{path.name} is empty. Its first line names the columns: `{TEXT},{CATEGORY}`.")


def _texts_header(lines: _Lines, path: Path, column: str) -> list[str]:
    """The header, the column with the texts called `text` in it."""
    for _, fields in _records(lines):
        names = [] if isinstance(fields, Quarantined) else [name.strip().lower() for name in fields]
        if names.count(column) == 1:
            return [TEXT if name == column else f"other {TEXT}" if name == TEXT else name for name in names]
        if len(names) == 1 and column == TEXT:
            return [TEXT]
        raise FormatError(f"{path.name} has no one column '{column}' with the texts: its first line names {names}.")
    raise FormatError(f"{path.name} is empty. Its first line names the columns.")


def _row(number: int, header: list[str], fields: list[str], encoding: str, needed: tuple[str, ...]) -> Row | Quarantined:
    reason = _fault(header, fields, encoding, needed)
    if reason:
        return quarantine(number, reason, ",".join(fields))
    cells = dict(zip(header, fields, strict=True))
    text, category = cells.pop(TEXT), cells.pop(CATEGORY, "").strip()
    return Row(
        line=number,
        messages=[{"role": "user", "content": text}],
        answer=category,
        reference=category or None,
        metadata={key: value for key, value in cells.items() if key and value},
    )


def _fault(header: list[str], fields: list[str], encoding: str, needed: tuple[str, ...]) -> str | None:
    if not fields:
        return "an empty line"
    if len(fields) != len(header):
        return f"{len(fields)} fields, the header has {len(header)}"
    joined = "".join(fields)
    if any("\udc80" <= character <= "\udcff" for character in joined):
        return f"not valid {encoding}; a file from Excel in Chinese is read with --encoding gb18030"
    for name in needed:
        if not fields[header.index(name)].strip():
            return f"'{name}' is empty"
    return unstorable(joined)


def _reason(exc: csv.Error) -> str:
    return NEVER_CLOSED if str(exc) in (NEVER_CLOSED, "unexpected end of data") else f"not valid CSV: {exc}"


def _question(example: Example) -> str:
    if len(example.messages) != 1 or example.messages[0].get("role") != "user" or example.tools:
        raise UsageError(
            f"Example {example.id} is more than one question and its answer; CSV cannot hold it. Use openai_jsonl or parquet."
        )
    return message_text(example.messages[0])

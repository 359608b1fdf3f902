"""Questions that are to be answered: of a file or a dataset, read one by one, as often as they are needed.

A labelling reads them twice, to ask and to put question and answer together, and holds none of them meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from stillhouse.curation import Collected
from stillhouse.curation.collect import example_of
from stillhouse.dataset import SPLITS, Example
from stillhouse.errors import UsageError
from stillhouse.files import hash_file
from stillhouse.formats import FORMATS, format_of
from stillhouse.formats.base import Line, Quarantined, Row, check_strings, quarantine, read_lines, too_long
from stillhouse.formats.csv_text import CsvText
from stillhouse.formats.examples import each_example
from stillhouse.formats.openai_jsonl import chat_row
from stillhouse.workspace import Workspace


@dataclass(frozen=True)
class Questions:
    """Where they stand. Iterating reads them again."""

    identity: str
    """Hash of the content: other questions, another labelling."""
    path: Path
    """A file, or a dataset's folder."""
    is_dataset: bool
    column: str = "text"
    """Of a table or of objects: what the texts stand under."""

    def __iter__(self) -> Iterator[Example]:
        """Those that can be asked."""
        return (each for each in self._all() if isinstance(each, Example))

    def account(self) -> Collected:
        """What of the file cannot be asked; without examples."""
        collected = Collected(given_splits=self.is_dataset)
        for each in self._all():
            if isinstance(each, Quarantined):
                collected.quarantined.append((self.path.name, each))
                collected.left_out("quarantined")
        return collected

    def _all(self) -> Iterator[Example | Quarantined]:
        if self.is_dataset:
            for split in SPLITS:
                yield from each_example(self.path, split)
            return
        for row in read_questions(self.path, self.column):
            yield row if isinstance(row, Quarantined) else example_of(row, source=f"file:{self.path.name}:{row.line}")


def absolute(source: str) -> str:
    """A file's whole path, for a run that works elsewhere; anything else as it is."""
    return str(Path(source).absolute()) if Path(source).is_file() else source


def find_questions(workspace: Workspace, source: str, column: str = "text") -> Questions:
    """The questions of a file (a file that is there wins over a dataset of that name) or of every split of a dataset.

    Raises UsageError, NotFoundError.
    """
    path = Path(source)
    if path.is_file():
        return Questions(f"sha256:{hash_file(path)}", path, is_dataset=False, column=column)
    if path.suffix:
        raise UsageError(f"There is no file {source}.")
    found = workspace.dataset(source)
    return Questions(found.fingerprint, workspace.dataset_folder(found.fingerprint), is_dataset=True)


def read_questions(path: Path, column: str = "text") -> Iterator[Row | Quarantined]:
    """Rows whose answers may be missing, tools and metadata kept.

    A line of text each (`.txt`), a table with a `column` of texts (`.csv`), an object a line with a `column` of text or a chat
    that ends with the user's turn (`.jsonl`), or any format with answers, which become references. Raises FormatError.
    """
    suffix = path.suffix.lower()
    if suffix == ".txt":
        yield from (_text_row(line) for line in read_lines(path))
    elif suffix == ".csv":
        yield from CsvText(labelled=False, column=column).read(path)
    elif suffix in {".jsonl", ".ndjson"}:
        yield from (_object_row(line, column) for line in read_lines(path))
    else:
        yield from FORMATS.resolve(format_of(path))().read(path)


def _text_row(line: Line) -> Row | Quarantined:
    if line.too_long:
        return too_long(line)
    try:
        text = line.content.decode("utf-8").strip()
    except UnicodeDecodeError:
        return quarantine(line.number, "not valid utf-8", line.content)
    if not text:
        return quarantine(line.number, "an empty line")
    return Row(line=line.number, messages=[{"role": "user", "content": text}], answer="")


def _object_row(line: Line, column: str) -> Row | Quarantined:
    if line.too_long:
        return too_long(line)
    try:
        value = orjson.loads(line.content)
        check_strings(value)
        text = value.get(column) if isinstance(value, dict) and "messages" not in value else None
        if isinstance(text, str) and text.strip():
            return Row(line=line.number, messages=[{"role": "user", "content": text}], answer="")
        messages = value["messages"]
        answered = messages[-1]["role"] == "assistant"
        whole = messages if answered else [*messages, {"role": "assistant", "content": "?"}]
        row = chat_row(line.number, {**value, "messages": whole})
    except (ValueError, KeyError, IndexError, TypeError) as exc:
        return quarantine(line.number, f"no text, no chat: {exc}", line.content)
    return row if answered else row.model_copy(update={"answer": ""})

"""The paper's JSON documents, read and written without loss: every field, in its order, in the layout it came in.

`Samples` is its Dataset (under `data` a list), `Completions` its CompletionDataset (an object of lists). The standard library's
JSON, not ours: half a surrogate pair, which models cut into texts, must survive.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from stillhouse.errors import FormatError, NotFoundError
from stillhouse.files import write_atomic


class Style(NamedTuple):
    """How a JSON file is laid out. The paper's own are as here by default."""

    indent: int | None = 4
    ascii: bool = True
    end: str = ""


@dataclass
class Document:
    """One file: `metadata`, `data`, and whatever else stands beside them."""

    content: dict[str, Any]
    style: Style = field(default_factory=Style)

    @property
    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = self.content["metadata"]
        return found

    @property
    def dataset_key(self) -> str:
        return str(self.metadata["dataset_key"])

    def write(self, path: Path) -> None:
        """Whole or not at all; folders are made. Raises StoreError."""
        write_json(path, self.content, self.style)


@dataclass
class Samples(Document):
    """The questions of a task: `sample_index`, `question`, `answer`, perhaps `rationale`."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.content["data"]
        return found

    @classmethod
    def read(cls, path: Path) -> Samples:
        """Raises NotFoundError, FormatError."""
        content, style = read_json(path)
        rows = _checked(path, content, list)
        if not all(isinstance(row, dict) for row in rows):
            raise FormatError(f"{path} is no Dataset: every item of 'data' must be an object.")
        return cls(content, style)

    @classmethod
    def make(cls, key: str, pairs: list[tuple[str, str]]) -> Samples:
        """Of questions and answers, numbered from 0."""
        rows = [{"sample_index": i, "question": question, "answer": answer} for i, (question, answer) in enumerate(pairs)]
        return cls({"metadata": {"dataset_key": key}, "data": rows})


@dataclass
class Completions(Document):
    """What a model said to the questions of a task, several times each perhaps."""

    @property
    def by_sample(self) -> dict[str, list[dict[str, Any]]]:
        """`sample_index` as the string it is in JSON -> its completions, in order."""
        found: dict[str, list[dict[str, Any]]] = self.content["data"]
        return found

    @property
    def base_model(self) -> str:
        return str(self.metadata.get("base_model", ""))

    @property
    def completion_key(self) -> str:
        return str(self.metadata.get("completion_key", ""))

    @property
    def template(self) -> str | None:
        """`prediction_template`; where a file does not say, its completion key says the same."""
        found = self.metadata.get("prediction_template") or self.metadata.get("completion_key")
        return found if isinstance(found, str) else None

    @property
    def rows(self) -> Iterator[dict[str, Any]]:
        """Every completion, in the file's order."""
        for rows in self.by_sample.values():
            yield from rows

    @classmethod
    def read(cls, path: Path) -> Completions:
        """Raises NotFoundError, FormatError."""
        content, style = read_json(path)
        data = _checked(path, content, dict)
        for rows in data.values():
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise FormatError(f"{path} is no CompletionDataset: every value of 'data' must be a list of objects.")
        return cls(content, style)

    @classmethod
    def make(cls, metadata: dict[str, Any], rows: list[dict[str, Any]]) -> Completions:
        """Of completion samples, put together by question in the order in which questions first come."""
        data: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            data.setdefault(str(row["sample_index"]), []).append(row)
        return cls({"metadata": metadata, "data": data})


def read_json(path: Path) -> tuple[Any, Style]:
    """A JSON value and how its file is laid out. Raises NotFoundError, FormatError."""
    try:
        raw = path.read_text(encoding="utf-8")
        return json.loads(raw), _style_of(raw)
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.") from None
    except (OSError, ValueError, RecursionError) as exc:
        raise FormatError(f"{path} is not a JSON file: {exc}.") from exc


def write_json(path: Path, content: Any, style: Style | None = None) -> None:
    """Whole or not at all; folders are made. Raises StoreError."""
    style = style or Style()
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=style.indent, ensure_ascii=style.ascii) + style.end
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair: only its escape can be written
        raw = (json.dumps(content, indent=style.indent) + style.end).encode()
    write_atomic(path, raw)


def _style_of(raw: str) -> Style:
    body = raw.rstrip("\n")
    _, line_break, rest = body.partition("\n")
    indent = len(rest) - len(rest.lstrip(" ")) if line_break else None
    return Style(indent, body.isascii(), raw[len(body) :])


def _checked(path: Path, content: Any, kind: type) -> Any:
    wanted = "a Dataset (a list under 'data')" if kind is list else "a CompletionDataset (an object under 'data')"
    if not isinstance(content, dict) or not isinstance(content.get("data"), kind):
        raise FormatError(f"{path} is not {wanted}.")
    metadata = content.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("dataset_key"), str):
        raise FormatError(f"{path} does not say in 'metadata' which 'dataset_key' it belongs to.")
    return content["data"]

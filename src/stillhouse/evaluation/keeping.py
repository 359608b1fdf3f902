"""Reports as they are kept: the report in the store, its rows in a content-addressed file. How files are kept is handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import zstandard
from pydantic import ValidationError

from stillhouse.errors import FormatError, NotFoundError
from stillhouse.grade import Answered, Report
from stillhouse.records import Record
from stillhouse.stores.base import Store

R = TypeVar("R", bound=Record)


def keep_report(report: Report, rows: Iterable[Answered], *, store: Store, put: Callable[[bytes], str]) -> Report:
    """Keep the rows, then the report that names them; returns it. `put` keeps bytes and returns their sha256."""
    kept = report.model_copy(update={"rows_file": put(pack(rows))})
    store.put_report(kept).result()
    return kept


def rows_of(report: Report, get: Callable[[str], bytes]) -> list[Answered]:
    """A kept report's rows. Raises NotFoundError when it was kept without, FormatError when the file is none of rows."""
    if report.rows_file is None:
        raise NotFoundError(f"The report {report.id} was kept without its rows.")
    return unpack(get(report.rows_file))


def pack(rows: Iterable[Record]) -> bytes:
    """One JSON line a row, compressed with zstd."""
    return zstandard.ZstdCompressor().compress(b"".join(row.json_bytes() + b"\n" for row in rows))


def unpack(content: bytes) -> list[Answered]:
    """The rows of what `pack` made of answers. Raises FormatError."""
    return unpack_as(Answered, content)


def unpack_as(kind: type[R], content: bytes) -> list[R]:
    """The records of what `pack` made. Raises FormatError."""
    try:
        lines = zstandard.ZstdDecompressor().decompress(content).split(b"\n")
        return [kind.model_validate_json(line) for line in lines if line]
    except (zstandard.ZstdError, ValidationError) as exc:
        raise FormatError(f"This is no file of an evaluation's rows: {exc}.") from exc

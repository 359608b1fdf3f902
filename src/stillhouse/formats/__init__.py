"""Foreign files <-> records: one module a format, one reader and one writer each.

`examples.py` is Stillhouse's own form and no kind of this table; `export.py` writes a whole dataset in any kind of it.
"""

from __future__ import annotations

from pathlib import Path

from stillhouse.errors import FormatError
from stillhouse.registry import Table

FORMATS = Table(
    "format",
    "formats",
    {
        "csv": "stillhouse.formats.csv_text:CsvText",
        "openai_jsonl": "stillhouse.formats.openai_jsonl:OpenAIJsonl",
        "openai_preference": "stillhouse.formats.openai_preference:OpenAIPreference",
        "prompt_completion": "stillhouse.formats.prompt_completion:PromptCompletion",
        "parquet": "stillhouse.formats.parquet:Parquet",
    },
)

_SUFFIXES = {".csv": "csv", ".jsonl": "openai_jsonl", ".ndjson": "openai_jsonl", ".parquet": "parquet"}


def format_of(path: Path) -> str:
    """The format a file's name speaks of. Raises FormatError when it speaks of none."""
    name = _SUFFIXES.get(path.suffix.lower())
    if path.is_dir():
        raise FormatError(f"{path} is a folder; name a file in it.")
    if name is None:
        table = " Save a table as CSV first." if path.suffix.lower() in (".xlsx", ".xls", ".ods") else ""
        raise FormatError(
            f"{path.name} does not say by its name what it is. Name it {', '.join(sorted(_SUFFIXES))}, or say which it is with "
            f"stillhouse dataset import --format, of: {', '.join(FORMATS.names())}.{table}"
        )
    return name

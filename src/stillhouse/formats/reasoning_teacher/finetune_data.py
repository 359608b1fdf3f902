"""Fine-tuning data as the paper writes it: OpenAI's `prompt`/`completion` lines, or `input` and `label` lists for other models.

`P_openai/F_<key>.jsonl` is for OpenAI's legacy fine-tuning, each completion ending in ` END`; `P_<platform>/F_<key>.json` for
decoders and T5.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stillhouse.errors import FormatError
from stillhouse.files import write_atomic
from stillhouse.formats.reasoning_teacher.documents import read_json, write_json
from stillhouse.reasoning import Template
from stillhouse.reasoning.templates import STOP

OPENAI = "openai"


def finetune_path(folder: Path, platform: str, key: str) -> Path:
    """Within a folder `finetune_data`."""
    return folder / f"P_{platform}" / f"F_{key}.{'jsonl' if platform == OPENAI else 'json'}"


def finetune_rows(samples: Iterable[Mapping[str, Any]], template: Template, *, stop: str | None = STOP) -> list[dict[str, Any]]:
    """What each sample asks and teaches: `sample_index`, `prompt`, `completion`. Raises UsageError where a template only asks."""
    return [
        {
            "sample_index": sample.get("sample_index"),
            "prompt": template.ask(sample),
            "completion": template.teach(sample, stop=stop),
        }
        for sample in samples
    ]


def write_finetune(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Lines of `prompt` and `completion` (`.jsonl`), or lists `sample_index`, `input`, `label` (`.json`); returns how many."""
    rows = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        lines = [json.dumps({"prompt": row["prompt"], "completion": row["completion"]}) for row in rows]
        write_atomic(path, "".join(f"{line}\n" for line in lines).encode())
    else:
        names = {"sample_index": "sample_index", "input": "prompt", "label": "completion"}
        write_json(path, {column: [row[name] for row in rows] for column, name in names.items()})
    return len(rows)


def read_finetune(path: Path) -> list[dict[str, Any]]:
    """The rows of either form. Raises NotFoundError, FormatError."""
    if path.suffix != ".jsonl":
        columns, _ = read_json(path)
        names = {"sample_index": "sample_index", "prompt": "input", "completion": "label"}
        try:
            return [dict(zip(names, values, strict=True)) for values in zip(*(columns[c] for c in names.values()), strict=True)]
        except (KeyError, TypeError, ValueError) as exc:
            raise FormatError(f"{path} does not hold the lists sample_index, input and label, equally long: {exc}.") from exc
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, ValueError) as exc:
        raise FormatError(f"{path} is not a file of JSON lines: {exc}.") from exc
    if not all(isinstance(row, dict) and {"prompt", "completion"} <= row.keys() for row in rows):
        raise FormatError(f"{path}: every line must hold 'prompt' and 'completion'.")
    return rows

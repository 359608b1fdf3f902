"""A whole dataset in a foreign format: a folder with a file a split, `manifest.json`, and for Parquet a dataset card.

The folder appears whole or not at all. Formats are handed in; this file knows none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from stillhouse.dataset import Dataset, Example, Split
from stillhouse.errors import ConflictError
from stillhouse.files import hash_file, whole_folder
from stillhouse.formats.base import Format


def export_dataset(
    dataset: Dataset, examples: Mapping[Split, Sequence[Example]], kind: Format, folder: Path, *, name: str
) -> dict[str, Any]:
    """Write `examples` to the new folder `folder` in the format called `name`; returns the export's manifest.

    Raises ConflictError when `folder` exists, UsageError when the format cannot hold an example.
    """
    if folder.exists():
        raise ConflictError(f"{folder} exists already. Choose another folder, or remove it.")
    with whole_folder(folder) as draft:
        files = {split: _write_split(rows, kind, draft / kind.file_name(split)) for split, rows in examples.items() if rows}
        if name == "parquet":
            draft.joinpath("README.md").write_text(dataset_card(dataset, files), encoding="utf-8")
        manifest = {
            "format": name,
            "dataset": dataset.model_dump(mode="json"),
            "files": {path.relative_to(draft).as_posix(): hash_file(path) for path in files.values()},
        }
        (draft / "manifest.json").write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return manifest


def dataset_card(dataset: Dataset, splits: Mapping[Split, object]) -> str:
    """The README that Hugging Face shows: where each split lies, who answered, what the teachers' terms say."""
    config = "\n".join(f"      - split: {_card_split(split)}\n        path: data/{split}-*.parquet" for split in splits)
    rows = "\n".join(f"| {split} | {dataset.counts.get(split, 0)} |" for split in splits)
    teachers = "\n".join(f"- {model}: {count} answers" for model, count in sorted(dataset.teachers.items())) or "- none recorded"
    terms = "\n".join(f"- {upstream}: {verdict}" for upstream, verdict in sorted(dataset.may_train.items())) or "- none recorded"
    return (
        f"---\nconfigs:\n  - config_name: default\n    data_files:\n{config}\n---\n\n# {dataset.name}\n\n"
        f"Fingerprint `{dataset.fingerprint}`. `manifest.json` holds filters, removals and hashes.\n\n"
        f"| split | rows |\n|---|---|\n{rows}\n\n## Who answered\n\n{teachers}\n\n"
        f"## May a model be trained on it (by each upstream's terms)\n\n{terms}\n"
    )


def _card_split(split: Split) -> str:
    return "validation" if split == "valid" else split


def _write_split(rows: Sequence[Example], kind: Format, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind.write(rows, path)
    return path

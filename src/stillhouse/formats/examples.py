"""A dataset's folder: `manifest.json` and one JSON line per example in `train.jsonl`, `valid.jsonl`, `test.jsonl`.

This is Stillhouse's own form, which training reads; foreign files have modules of their own. A folder is made whole or not
at all: it is written beside its place and renamed, the manifest last.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from stillhouse.dataset import SPLITS, Dataset, Example, Split
from stillhouse.errors import ConflictError, FormatError, NotFoundError
from stillhouse.ids import uuid7_hex
from stillhouse.records import fingerprint

MANIFEST = "manifest.json"


def fingerprint_of(examples: Iterable[Example]) -> str:
    """The fingerprint of these examples: their canonical JSON in the order of the splits, then as given."""
    ordered = sorted(examples, key=lambda example: SPLITS.index(example.split))
    return fingerprint(*(example.json_bytes() for example in ordered))


def write_dataset_folder(folder: Path, examples: Sequence[Example], *, name: str, **lineage: Any) -> Dataset:
    """Write `examples` as the dataset `name`; `lineage` are other fields of the manifest (parents, recipe, removed, ...).

    Where the folder holds the same dataset already nothing is written. Returns its manifest. Raises ConflictError where it
    holds another one: a version is immutable.
    """
    if (folder / MANIFEST).exists():
        return _same(read_manifest(folder), fingerprint_of(examples), folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{uuid7_hex()}")
    draft.mkdir()
    try:
        hashes = {f"{split}.jsonl": _write(draft / f"{split}.jsonl", _lines(examples, split)) for split in SPLITS}
        manifest = Dataset(
            name=name,
            fingerprint=fingerprint_of(examples),
            created=lineage.pop("created", int(time.time())),
            counts={split: sum(example.split == split for example in examples) for split in SPLITS},
            files={split: f"{split}.jsonl" for split in SPLITS},
            hashes=hashes,
            **lineage,
        )
        _write(draft / MANIFEST, manifest.json_bytes())
        _sync_folder(draft)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _sync_folder(folder.parent)
    return manifest


def read_manifest(folder: Path) -> Dataset:
    """The manifest of the dataset in `folder`. Raises NotFoundError, FormatError."""
    try:
        return Dataset.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise NotFoundError(f"There is no dataset in {folder}: {MANIFEST} is missing.") from None
    except ValidationError as exc:
        raise FormatError(f"{folder / MANIFEST} is not a dataset's manifest: {exc}.") from exc


def read_examples(folder: Path, split: Split) -> list[Example]:
    """The examples of one split, in order. Raises NotFoundError, and FormatError where the file is not what the manifest says."""
    manifest = read_manifest(folder)
    name = manifest.files.get(split)
    if name is None:
        return []
    path = folder / Path(name).name
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"{path} is missing; {MANIFEST} names it.") from None
    if hashlib.sha256(content).hexdigest() != manifest.hashes.get(name):
        raise FormatError(f"{path} was changed after the dataset was made: its sha256 is not the one in {MANIFEST}.")
    return [_example(line, path, number) for number, line in enumerate(content.splitlines(), start=1)]


def _same(there: Dataset, wanted: str, folder: Path) -> Dataset:
    if there.fingerprint != wanted:
        raise ConflictError(f"{folder} holds the dataset {there.fingerprint}, not {wanted}. Write it to a folder of its own.")
    return there


def _example(line: bytes, path: Path, number: int) -> Example:
    try:
        return Example.model_validate(orjson.loads(line))
    except (orjson.JSONDecodeError, ValidationError) as exc:
        raise FormatError(f"{path}, line {number}, is not an example: {exc}.") from exc


def _lines(examples: Iterable[Example], split: Split) -> bytes:
    return b"".join(example.json_bytes() + b"\n" for example in examples if example.split == split)


def _write(path: Path, content: bytes) -> str:
    """Write durably; returns the sha256."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

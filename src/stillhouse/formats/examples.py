"""A dataset's folder: `manifest.json` and one JSON line per example in `train.jsonl`, `valid.jsonl`, `test.jsonl`.

This is Stillhouse's own form, which training reads; foreign files have modules of their own. A folder is made whole or not
at all: it is written beside its place and renamed, the manifest last.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from stillhouse.dataset import SPLITS, Dataset, Example, Split
from stillhouse.errors import ConflictError, FormatError, NotFoundError, StoreError
from stillhouse.files import hash_file, whole_folder
from stillhouse.records import fingerprint

MANIFEST = "manifest.json"


def fingerprint_of(examples: Iterable[Example]) -> str:
    """The fingerprint of these examples: their canonical JSON in the order of the splits, then as given."""
    ordered = sorted(examples, key=lambda example: SPLITS.index(example.split))
    return fingerprint(*(example.json_bytes() for example in ordered))


def write_dataset_folder(folder: Path, examples: Sequence[Example], *, name: str, **lineage: Any) -> Dataset:
    """Write `examples` as the dataset `name`; `lineage` are other fields of the manifest (parents, recipe, removed, ...).

    Where the folder holds the same dataset already nothing is written. Returns its manifest. Raises ConflictError where it
    holds another one (a version is immutable), StoreError where the disk refuses.
    """
    if (folder / MANIFEST).exists():
        return _same(read_manifest(folder), fingerprint_of(examples), folder)
    try:
        with whole_folder(folder) as draft:
            return _fill(draft, examples, name, lineage)
    except OSError as exc:
        if (folder / MANIFEST).exists():  # another process made it meanwhile
            return _same(read_manifest(folder), fingerprint_of(examples), folder)
        raise StoreError(f"The dataset cannot be written to {folder}: {exc.strerror or exc}.") from exc


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
    return list(each_example(folder, split))


def each_example(folder: Path, split: Split) -> Iterator[Example]:
    """As `read_examples`, one by one: the file is read once to check it, and once more as it is asked for."""
    manifest = read_manifest(folder)
    name = manifest.files.get(split)
    if name is None:
        return
    path = folder / Path(name).name
    try:
        digest = hash_file(path)
    except FileNotFoundError:
        raise NotFoundError(f"{path} is missing; {MANIFEST} names it.") from None
    if digest != manifest.hashes.get(name):
        raise FormatError(f"{path} was changed after the dataset was made: its sha256 is not the one in {MANIFEST}.")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            yield _example(line, path, number)


def _fill(draft: Path, examples: Sequence[Example], name: str, lineage: dict[str, Any]) -> Dataset:
    """Write the splits, then the manifest that names them."""
    content = {split: _lines(examples, split) for split in SPLITS}
    manifest = Dataset(
        name=name,
        fingerprint=fingerprint_of(examples),
        created=lineage.pop("created", int(time.time())),
        counts={split: sum(example.split == split for example in examples) for split in SPLITS},
        files={split: f"{split}.jsonl" for split in SPLITS},
        hashes={f"{split}.jsonl": hashlib.sha256(lines).hexdigest() for split, lines in content.items()},
        **lineage,
    )
    for split, lines in content.items():
        (draft / f"{split}.jsonl").write_bytes(lines)
    (draft / MANIFEST).write_bytes(manifest.json_bytes())
    return manifest


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

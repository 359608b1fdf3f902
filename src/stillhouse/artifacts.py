"""Model folders that are whole: a manifest with the hash of every file, written last, checked before the weights are trusted.

What the files mean is the student kind's affair; an index of artifacts is the store's.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stillhouse.artifact import Artifact
from stillhouse.errors import ConflictError, NotFoundError, UsageError
from stillhouse.files import finish_directory, hash_file
from stillhouse.ids import new_id

MANIFEST = "artifact.json"


def write_manifest(folder: Path, *, kind: str, parameters: int, identifier: str | None = None, **lineage: Any) -> Artifact:
    """Hash every file of `folder` and write its manifest, which makes it an artifact; on return it survives a power cut.

    `lineage` are further fields of `Artifact`: name, run, dataset, teacher, recipe, metrics, ... Raises ConflictError when the
    folder has a manifest already.
    """
    if (folder / MANIFEST).exists():
        raise ConflictError(f"{folder} has a manifest already ({MANIFEST}); an artifact is never changed.")
    hashes = {name: hash_file(folder / name) for name in files_of(folder)}
    artifact = Artifact(
        id=identifier or new_id("student"),
        kind=kind,
        created=int(time.time()),
        parameters=parameters,
        size_bytes=sum((folder / name).stat().st_size for name in hashes),
        hashes=hashes,
        **lineage,
    )
    finish_directory(folder, MANIFEST, artifact.json_bytes())
    return artifact


def register(
    folder: Path, artifacts_dir: Path, *, kind: str, parameters: int, identifier: str | None = None, **lineage: Any
) -> Artifact:
    """Copy a model folder to `artifacts_dir/<id>` and make it an artifact; the copy's manifest is written last.

    A folder that is an artifact already is verified and keeps its own id and lineage, whatever is given here. Raises
    ConflictError when the id is there already, UsageError for no folder.
    """
    given = verify(folder) if (folder / MANIFEST).is_file() else None
    identifier = given.id if given is not None else identifier or new_id("model")
    target = artifacts_dir / identifier
    if (target / MANIFEST).exists():
        raise ConflictError(f"There is a model {identifier} already.")
    shutil.rmtree(target, ignore_errors=True)  # a copy that was cut off: it has no manifest
    for name in files_of(folder):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target / name)
    if given is None:
        return write_manifest(target, kind=kind, parameters=parameters, identifier=identifier, **lineage)
    finish_directory(target, MANIFEST, (folder / MANIFEST).read_bytes())
    return given


def load_manifest(folder: Path) -> Artifact:
    """Raises NotFoundError where there is none, UsageError where it cannot be read."""
    path = folder / MANIFEST
    try:
        return Artifact.model_validate_json(path.read_bytes())
    except FileNotFoundError as exc:
        raise NotFoundError(f"{folder} has no {MANIFEST}: it is no artifact, or was not finished.") from exc
    except ValidationError as exc:
        raise UsageError(f"{path} cannot be read: {exc.errors()[0]['msg']} at {exc.errors()[0]['loc']}.") from exc


def verify(folder: Path) -> Artifact:
    """The manifest, after every file was found as it was written. Raises UsageError naming the file that is not."""
    artifact = load_manifest(folder)
    there = files_of(folder)
    for name in sorted({*there, *artifact.hashes}):
        if name not in artifact.hashes:
            raise UsageError(f"{folder / name} is not in the manifest: somebody added it. Remove it.")
        if name not in there:
            raise UsageError(f"{folder / name} is missing.")
        if hash_file(folder / name) != artifact.hashes[name]:
            raise UsageError(
                f"{folder / name} was changed after the artifact was finished: its sha256 differs from the manifest's."
            )
    return artifact


def files_of(folder: Path) -> list[str]:
    """Names of all files below `folder` with `/`, sorted, the manifest left out. Raises UsageError for links and no folder."""
    if not folder.is_dir():
        raise UsageError(f"There is no model folder at {folder}.")
    names = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise UsageError(f"{path} is a link; a model folder holds its files itself.")
        if path.is_file():
            names.append(path.relative_to(folder).as_posix())
    return [name for name in names if name != MANIFEST]

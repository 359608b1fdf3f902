"""Checkpoints on disk: tensors as safetensors, scalars as JSON, a manifest with every file's sha256 last.

`load_newest` takes the newest one whose manifest verifies, so a torn or rotten checkpoint costs the steps since the one before
it, never a wrong resume. What is in a checkpoint is the trainer's affair.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from stillhouse.errors import TrainingError
from stillhouse.files import hash_file, remove_drafts, whole_folder

MANIFEST = "manifest.json"
_PREFIX = "step-"


@dataclass(frozen=True)
class Checkpoint:
    """The state after `step` optimizer steps."""

    step: int
    scalars: Mapping[str, Any]
    """Anything JSON."""
    tensors: Mapping[str, Mapping[str, Tensor]]
    """File stem (`weights`, `optimizer`, ...) -> name -> tensor."""


def save(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint into `folder` and remove all but the newest `keep`. Raises TrainingError when the disk refuses.

    A whole one of the same step stays as it is: a run that is stopped where it was saved or resumed has nothing to add.
    """
    place = folder / f"{_PREFIX}{checkpoint.step:09d}"
    if _verifies(place):
        return place
    try:
        if place.exists():
            shutil.rmtree(place)
        with whole_folder(place) as draft:
            for stem, tensors in checkpoint.tensors.items():
                save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, draft / f"{stem}.safetensors")
            (draft / "scalars.json").write_text(json.dumps(checkpoint.scalars), encoding="utf-8")
            manifest = {"step": checkpoint.step, "hashes": {path.name: hash_file(path) for path in sorted(draft.iterdir())}}
            (draft / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    except OSError as exc:
        last = newest_step(folder)
        raise TrainingError(
            f"The checkpoint of step {checkpoint.step} could not be written: {exc}. "
            f"The newest whole one is of step {last}; make room and resume."
        ) from exc
    for old in _places(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def load_newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that verifies; None where there is none."""
    remove_drafts(folder)
    for place in _places(folder):
        if _verifies(place):
            tensors = {path.stem: load_file(path) for path in sorted(place.glob("*.safetensors"))}
            scalars = json.loads((place / "scalars.json").read_bytes())
            return Checkpoint(_step_of(place), scalars, tensors)
    return None


def newest_step(folder: Path) -> int | None:
    """Step of the newest checkpoint that verifies, for messages."""
    return next((_step_of(place) for place in _places(folder) if _verifies(place)), None)


def _places(folder: Path) -> list[Path]:
    """Newest first."""
    return sorted(folder.glob(f"{_PREFIX}*"), key=_step_of, reverse=True) if folder.is_dir() else []


def _step_of(place: Path) -> int:
    digits = place.name.removeprefix(_PREFIX)
    return int(digits) if digits.isdigit() else -1


def _verifies(place: Path) -> bool:
    try:
        manifest = json.loads((place / MANIFEST).read_bytes())
        return (
            manifest["step"] == _step_of(place)
            and bool(manifest["hashes"])
            and all(hash_file(place / name) == digest for name, digest in manifest["hashes"].items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False

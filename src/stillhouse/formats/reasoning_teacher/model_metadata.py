"""`model_metadata/B_<base model>/F_<fine-tune>[__T_<train>].json`: what is known of a student that was fine-tuned.

The paper keeps no schema for it; ours writes where the student is and what it was made of. Other files are kept as they come.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from stillhouse.errors import FormatError
from stillhouse.formats.reasoning_teacher.documents import read_json, write_json
from stillhouse.formats.reasoning_teacher.layout import folder_of, new_folder, safe_key, tags_of

FOLDER = "model_metadata"


class StudentKey(NamedTuple):
    """Which student."""

    base_model: str
    finetune_key: str
    train_key: str | None = None

    @property
    def path(self) -> Path:
        """Within `model_metadata/`."""
        train = "" if self.train_key is None else f"__T_{safe_key(self.train_key)}"
        return Path(f"B_{safe_key(self.base_model)}") / f"F_{safe_key(self.finetune_key)}{train}.json"


def write_metadata(root: Path, key: StudentKey, content: dict[str, Any]) -> Path:
    """Returns where it was written."""
    path = new_folder(root, FOLDER) / key.path
    write_json(path, content)
    return path


def read_metadata(root: Path, key: StudentKey) -> dict[str, Any]:
    """Raises NotFoundError, FormatError."""
    path = (folder_of(root, FOLDER) or root / FOLDER) / key.path
    content, _ = read_json(path)
    if not isinstance(content, dict):
        raise FormatError(f"{path} is not a JSON object.")
    return content


def students_in(root: Path) -> Iterator[StudentKey]:
    """Every student that a folder knows of, sorted."""
    folder = folder_of(root, FOLDER)
    for path in sorted(folder.glob("B_*/F_*.json")) if folder else ():
        tags = {**tags_of(path.parent.name), **tags_of(path.stem)}
        yield StudentKey(tags["B"], tags["F"], tags.get("T"))

"""Where the paper's files lie: names made of tagged keys, `B_<base model>__C_<completion>/F_<fine-tune>__D_<dataset>.json`.

A folder is a checkout of the paper's repository (`data/dataset/`, `data/split/`, `saved/completion_data/`), or the same folders
side by side without `data/` and `saved/`. Keys may hold single underscores; `__` and a tag letter end one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stillhouse.errors import FormatError, NotFoundError
from stillhouse.formats.reasoning_teacher.documents import read_json, write_json
from stillhouse.records import Record

SPLITS = ("default", "template")
"""The paper's split keys. `template`: no template of questions stands on both sides (its appendix E.3)."""

_TAG = re.compile(r"(?:^|__)([A-Z])_")
_PARENTS = {
    "dataset": ("data", ""),
    "split": ("data", ""),
    "completion_data": ("saved", ""),
    "finetune_data": ("saved", ""),
    "model_metadata": ("saved", ""),
}


class Place(Record):
    """What a completion file's path says of it."""

    base_model: str
    completion_key: str
    dataset_key: str
    finetune_key: str | None = None
    train_key: str | None = None
    epoch: int | None = None

    @property
    def path(self) -> Path:
        """Under `completion_data/`. Both of the paper's orders are read; this one, of its README, is written."""
        tags = [("F", self.finetune_key), ("T", self.train_key), ("D", self.dataset_key)]
        epoch = [] if self.epoch is None else [f"E_{self.epoch:03d}"]
        parts = [f"{tag}_{safe_key(key)}" for tag, key in tags if key is not None]
        folder = f"B_{safe_key(self.base_model)}__C_{safe_key(self.completion_key)}"
        return Path(folder) / ("__".join([*parts, *epoch]) + ".json")

    @classmethod
    def of(cls, path: Path) -> Place:
        """Raises FormatError where the path's last two names are not of the paper's form."""
        tags = {**tags_of(path.parent.name), **tags_of(path.stem)}
        if not {"B", "C", "D"} <= tags.keys():
            raise FormatError(f"{path} is not named B_<base model>__C_<completion>/[F_<fine-tune>__]D_<dataset>.json.")
        epoch = tags.get("E", "")
        names = {"base_model": "B", "completion_key": "C", "dataset_key": "D", "finetune_key": "F", "train_key": "T"}
        found: dict[str, Any] = {field: tags.get(tag) for field, tag in names.items()}
        return cls(**found, epoch=int(epoch) if epoch.isdigit() else None)


def folder_of(root: Path, name: str) -> Path | None:
    """`dataset`, `completion_data`, ... within a folder of either layout; None where it has none."""
    return next((root / parent / name for parent in _PARENTS[name] if (root / parent / name).is_dir()), None)


def new_folder(root: Path, name: str) -> Path:
    """Where `name` is to be written: into the layout that is there already, else into the repository's."""
    bare = any((root / other).is_dir() for other in _PARENTS)
    return folder_of(root, name) or (root / name if bare else root / _PARENTS[name][0] / name)


def completion_files(root: Path) -> Iterator[Path]:
    """Every completion file of a folder, sorted; `root` may be the whole, `completion_data/`, one folder in it or one file.

    Raises NotFoundError where there is none.
    """
    folder = folder_of(root, "completion_data") or root
    found = [root] if root.is_file() else sorted({*folder.glob("B_*/*.json"), *folder.glob("*D_*.json")})
    if not found:
        raise NotFoundError(f"{root} holds no completion_data/B_<base model>__C_<completion>/D_<dataset>.json.")
    yield from found


def dataset_file(root: Path, key: str) -> Path | None:
    """The Dataset of a task, looked for in `root` and the folders above it (three: a file's way up); None where there is none."""
    for place in (root, *root.absolute().parents[:3]):
        folder = folder_of(place, "dataset")
        if folder is not None and (folder / f"{key}.json").is_file():
            return folder / f"{key}.json"
    return None


def read_split(root: Path, key: str, split: str = "default") -> dict[str, list[int]]:
    """`{"train": [...], "test": [...]}` of sample indices. Raises NotFoundError, FormatError."""
    folder = root if root.name == "split" else folder_of(root, "split") or root / "split"
    path = folder / f"{key}__{split}.json"
    content, _ = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(indices, list) for indices in content.values()):
        raise FormatError(f"{path} is not a split: lists of sample indices under 'train' and 'test'.")
    return content


def write_split(root: Path, key: str, indices: Mapping[str, list[int]], split: str = "default") -> Path:
    """Returns where it was written."""
    path = new_folder(root, "split") / f"{key}__{split}.json"
    write_json(path, dict(indices))
    return path


def tags_of(name: str) -> dict[str, str]:
    """`B_curie__C_zs_cot` -> `{"B": "curie", "C": "zs_cot"}`."""
    starts = [*_TAG.finditer(name)]
    ends = [*(match.start() for match in starts), len(name)][1:]
    return {match[1]: name[match.end() : end] for match, end in zip(starts, ends, strict=True)}


def safe_key(key: str) -> str:
    """A model's name may hold slashes; a file's may not."""
    return key.replace("/", "-").replace("\0", "")

"""A data folder and everything names in it stand for: the one place outside the server where names are resolved.

Opens the store when first asked for it, builds ChatModels and graders from their names, knows where files lie. It holds no verb:
commands take built objects from here and hand them down.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stillhouse.errors import NotFoundError
from stillhouse.settings import Settings

if TYPE_CHECKING:
    from stillhouse.artifact import Artifact
    from stillhouse.dataset import Dataset
    from stillhouse.stores.base import Store

BUILTIN = "builtin:"
"""Prefix of the models that come with the package, e.g. `builtin:teacher`."""
ASSETS = Path(__file__).parent / "assets"


class Workspace:
    """What a command works in. Close it: the store may hold the database's lock."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The store: written to directly under its lock, or through the live server that holds it. Raises StoreBusyError."""
        if self._store is None:
            from stillhouse.stores.opening import open_store

            self._store = open_store(self.settings, role="command")
        return self._store

    def dataset(self, name: str) -> Dataset:
        """A version by name, `name@prefix` or fingerprint. Raises NotFoundError."""
        dataset = self.store.dataset(name)
        if dataset is None:
            raise NotFoundError(f"There is no dataset '{name}'. See what there is with: stillhouse dataset list")
        return dataset

    def dataset_folder(self, fingerprint: str) -> Path:
        """Where a version's files lie."""
        return dataset_folder(self.settings, fingerprint)

    def artifact(self, artifact_id: str) -> Artifact:
        """A registered model's manifest. Raises NotFoundError."""
        artifact = self.store.artifact(artifact_id)
        if artifact is None:
            raise NotFoundError(f"There is no model '{artifact_id}'. See what there is with: stillhouse models list")
        return artifact

    def artifact_folder(self, artifact_id: str) -> Path:
        """Where a model's files lie: a registered artifact's folder, or a builtin's. Raises NotFoundError."""
        if artifact_id.startswith(BUILTIN):
            return builtin_folder(artifact_id.removeprefix(BUILTIN))
        return self.settings.artifacts / self.artifact(artifact_id).id

    def model_folder(self, name: str) -> Path:
        """A model's folder: by artifact id, `builtin:NAME`, or the path of a folder somewhere else. Raises NotFoundError."""
        if name.startswith(BUILTIN) or not Path(name).is_dir():
            return self.artifact_folder(name)
        return Path(name).absolute()

    def close(self) -> None:
        """Give the store's lock back. Safe to call twice."""
        if self._store is not None:
            self._store.close()
            self._store = None


def dataset_folder(settings: Settings, fingerprint: str) -> Path:
    """Where a dataset version's files lie."""
    return settings.datasets / fingerprint.removeprefix("sha256:")


def builtin_folder(name: str) -> Path:
    """The folder of a model that comes with the package. Raises NotFoundError; `name` is looked up, never joined to a path."""
    folders = {folder.name: folder for folder in ASSETS.iterdir() if folder.is_dir()} if ASSETS.is_dir() else {}
    if name not in folders:
        raise NotFoundError(f"There is no builtin model '{name}'. There are: {', '.join(sorted(folders)) or 'none'}.")
    return folders[name]

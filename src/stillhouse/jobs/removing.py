"""A dataset version or a model, taken away for good: its row, then its files. What still needs it says so first.

What was made of it stays and keeps its name in its lineage. A folder is renamed before anything in it goes, so no crash leaves a
part of it under its name; what one left under the other name goes with the next that is removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from stillhouse.artifact import FINE_TUNED, Artifact
from stillhouse.dataset import Dataset
from stillhouse.errors import ConflictError, StoreError, UsageError
from stillhouse.jobs.forgetting import Kept
from stillhouse.jobs.needing import reader_of_dataset, reader_of_model
from stillhouse.run import Run
from stillhouse.stores.base import Store
from stillhouse.workspace import Workspace

ASIDE = ".removed-"
"""What a folder that is going is called, before its name."""


def removable_dataset(workspace: Workspace, name: str) -> Dataset:
    """The version that `name` means: `name@version`, a fingerprint, or a name of which there is one version.

    Raises NotFoundError; UsageError where several versions are meant; ConflictError while a run that is not over reads it.
    """
    found = workspace.dataset(name)
    if not name.startswith("sha256:"):
        versions = [known for known in workspace.store.datasets(found.name) if _means(name, known)]
        if len(versions) > 1:
            said = ", ".join(f"{version.name}@{version.short}" for version in versions)
            raise UsageError(f"'{name}' may be {len(versions)} versions. Say which is to go: {said}.")
    _refuse_read(workspace, found)
    return found


def remove_dataset(workspace: Workspace, name: str) -> Dataset:
    """Take a version away. Raises as `removable_dataset`, and StoreError where its files cannot go."""
    found, store = removable_dataset(workspace, name), workspace.store
    store.delete_dataset(found.name, found.fingerprint).result()
    with _put_back(lambda: store.put_dataset(found)):
        _refuse_read(workspace, found)
    _take_away(workspace.dataset_folder(found.fingerprint), lambda: store.dataset(found.fingerprint) is not None)
    return found


def made_of(store: Store, dataset: Dataset) -> Iterator[Kept]:
    """The versions and models that have it in their lineage."""
    for version in store.datasets():
        if dataset.fingerprint in version.parents:
            yield Kept(kind="dataset", id=version.fingerprint, name=version.name)
    for model in store.artifacts():
        if model.dataset == dataset.fingerprint:
            yield Kept(kind="model", id=model.id, name=model.name or model.id)


def removable_model(workspace: Workspace, name: str) -> Artifact:
    """The registered model. Raises NotFoundError, ConflictError while an alias leads to it or a run that is not over needs it."""
    found = workspace.artifact(name)
    _refuse_needed(workspace, found, name)
    return found


def remove_model(workspace: Workspace, name: str) -> Artifact:
    """Take a model away. Raises as `removable_model`, and StoreError where its files cannot go."""
    found, store = removable_model(workspace, name), workspace.store
    store.delete_artifact(found.id).result()
    with _put_back(lambda: store.put_artifact(found)):
        _refuse_needed(workspace, found, name)
    _take_away(workspace.settings.artifacts / found.id, lambda: store.artifact(found.id) is not None)
    return found


def _fine_tuned(model: Artifact) -> list[str]:
    """The name that clients may ask it by, beside its id."""
    return [model.name] if model.name is not None and model.name.startswith(FINE_TUNED) else []


@contextmanager
def _put_back(put: Callable[[], Future[None]]) -> Iterator[None]:
    """For the second look: a run or an alias may have come between the first and the entry's end."""
    try:
        yield
    except ConflictError:
        put().result()
        raise


def _take_away(folder: Path, named: Callable[[], bool]) -> None:
    """Unless it is named again, or still, once it is aside."""
    aside = folder.with_name(ASIDE + folder.name)
    try:
        for left in folder.parent.glob(f"{ASIDE}*"):
            shutil.rmtree(left, ignore_errors=True)
        folder.rename(aside)
        if named():
            aside.rename(folder)
            return
        shutil.rmtree(aside)
    except FileNotFoundError:
        return
    except OSError as exc:
        left = aside if aside.exists() else folder
        raise StoreError(
            f"Its entry is gone, and its files could not be removed ({exc.strerror or exc}). Remove this folder by hand: {left}"
        ) from exc


def _refuse_read(workspace: Workspace, dataset: Dataset) -> None:
    _refuse(f"The dataset {dataset.name}@{dataset.short}", reader_of_dataset(workspace, lambda said: _means(said, dataset)))


def _refuse_needed(workspace: Workspace, model: Artifact, called: str) -> None:
    served = {model.id, *_fine_tuned(model)}
    led = [route.alias for route in workspace.store.routes() if route.model in served]
    if led:
        raise ConflictError(
            f"'{called[:80]}' answers for {', '.join(led)}: point {'it' if len(led) == 1 else 'them'} elsewhere first, with: "
            f"stillhouse route set {led[0]} --model OTHER"
        )
    names = {*served, str(workspace.settings.artifacts / model.id), *filter(None, [model.name])}
    _refuse(f"The model {called[:80]}", reader_of_model(workspace, names))


def _refuse(what: str, reader: Run | None) -> None:
    if reader is not None:
        raise ConflictError(
            f"{what} is needed by {reader.id}, which is {reader.state}. Let it end, or give it up with: "
            f"stillhouse jobs cancel {reader.id}"
        )


def _means(said: str, dataset: Dataset) -> bool:
    """Whether a run that was told `said` may read this version: a bare name means whichever is the newest then."""
    name, at, prefix = said.partition("@")
    tagged = prefix if prefix.startswith("sha256:") else f"sha256:{prefix}"
    return said == dataset.fingerprint or (name == dataset.name and (not at or dataset.fingerprint.startswith(tagged)))

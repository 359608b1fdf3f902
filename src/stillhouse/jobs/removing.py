"""A dataset version or a model, taken away for good: its row, then its files. What still needs it says so first.

What was made of it stays and keeps its name in its lineage: students of a dataset, answers of a model. A crash in between leaves
files that nothing names, never a name without files.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_args

from stillhouse.artifact import FINE_TUNED, Artifact
from stillhouse.dataset import Dataset
from stillhouse.errors import ConflictError, UsageError
from stillhouse.run import FINAL_STATES, RunState
from stillhouse.stores.base import Store
from stillhouse.workspace import Workspace

UNFINISHED: frozenset[RunState] = frozenset(get_args(RunState)) - FINAL_STATES
MANY = 10_000
"""Runs that are not over: more than any queue has."""


def removable_dataset(workspace: Workspace, name: str) -> Dataset:
    """The version that `name` means: `name@version`, a fingerprint, or a name of which there is one version.

    Raises NotFoundError; UsageError where the name has several versions; ConflictError while a run that is not over needs it.
    """
    found = workspace.dataset(name)
    versions = workspace.store.datasets(found.name)
    if name == found.name and len(versions) > 1:
        said = ", ".join(f"{found.name}@{_short(version)}" for version in versions)
        raise UsageError(f"'{name}' has {len(versions)} versions. Say which is to go: {said}.")
    _refuse_where_needed(workspace.store, f"The dataset {found.name}@{_short(found)}", {found.fingerprint, found.name})
    return found


def remove_dataset(workspace: Workspace, name: str) -> Dataset:
    """Take a version away. Raises as `removable_dataset`, and StoreError."""
    found = removable_dataset(workspace, name)
    workspace.store.delete_dataset(found.name, found.fingerprint).result()
    if workspace.store.dataset(found.fingerprint) is None:  # no other name stands for the same files
        shutil.rmtree(workspace.dataset_folder(found.fingerprint), ignore_errors=True)
    return found


def removable_model(workspace: Workspace, name: str) -> Artifact:
    """The registered model. Raises NotFoundError, ConflictError while an alias leads to it or a run that is not over needs it."""
    found = workspace.artifact(name)
    led = [route.alias for route in workspace.store.routes() if route.model in (found.id, found.name)]
    if led:
        raise ConflictError(
            f"'{name[:80]}' answers for {', '.join(led)}: point {'it' if len(led) == 1 else 'them'} elsewhere first, with: "
            f"stillhouse route set {led[0]} --model OTHER"
        )
    names = {found.id, found.name} if found.name and found.name.startswith(FINE_TUNED) else {found.id}
    _refuse_where_needed(workspace.store, f"The model {found.id}", names)
    return found


def remove_model(workspace: Workspace, name: str) -> Artifact:
    """Take a model away. Raises as `removable_model`, and StoreError."""
    found = removable_model(workspace, name)
    workspace.store.delete_artifact(found.id).result()
    shutil.rmtree(workspace.settings.artifacts / found.id, ignore_errors=True)
    return found


def _refuse_where_needed(store: Store, what: str, names: Collection[str]) -> None:
    """`names`: what a run's specification may call it."""
    for run in store.runs(limit=MANY, states=UNFINISHED):
        if any(said in names or said.partition("@")[0] in names for said in _strings(run.spec)):
            raise ConflictError(
                f"{what} is needed by {run.id}, which is {run.state}. Let it end, or give it up with: "
                f"stillhouse jobs cancel {run.id}"
            )


def _strings(value: Any, key: str = "") -> Iterator[str]:
    """What a specification says, its own names left out: a recipe may be called like a dataset."""
    if isinstance(value, str) and key != "name":
        yield value
    elif isinstance(value, Mapping):
        for inner, each in value.items():
            yield from _strings(each, inner)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each)


def _short(dataset: Dataset) -> str:
    return dataset.fingerprint.removeprefix("sha256:")[:12]

"""Which run that is not over reads something by its name: a dataset version, a model.

A run's specification is looked through, an eval's run with its data source and its eval's graders, a batch with its file. Only
what stands under keys that name such things counts: a recipe may be called like a dataset, and a student's kind like a model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, get_args

from stillhouse.filing import Filing
from stillhouse.jobs import batches, evals
from stillhouse.run import FINAL_STATES, Run, RunState
from stillhouse.workspace import Workspace

DATA_KEYS = frozenset({"dataset", "source", "sources"})
MODEL_KEYS = frozenset({"model", "models", "teacher", "teachers", "base", "judge"})
UNFINISHED: frozenset[RunState] = frozenset(get_args(RunState)) - FINAL_STATES
MANY = 10_000
"""Runs that are not over: more than any queue has."""


def reader_of_dataset(workspace: Workspace, meant: Callable[[str], bool]) -> Run | None:
    """A run that reads a dataset of a name of which `meant` says that it is the version's."""
    return _reader(workspace, lambda run: any(meant(said) for said in _strings(run.spec, DATA_KEYS)))


def reader_of_model(workspace: Workspace, names: Collection[str]) -> Run | None:
    """A run that asks, judges by or learns from a model of one of these names."""
    return _reader(workspace, lambda run: any(said in names for said in _models(workspace, run)) or _asks(workspace, run, names))


def _reader(workspace: Workspace, reads: Callable[[Run], bool]) -> Run | None:
    return next(filter(reads, workspace.store.runs(limit=MANY, states=UNFINISHED)), None)


def _models(workspace: Workspace, run: Run) -> Iterator[str]:
    yield from _strings(run.spec, MODEL_KEYS)
    document = workspace.store.document(evals.EVAL_RUN, run.ref) if run.kind == evals.WORK and run.ref else None
    if document is not None:
        yield from _strings(document.record, MODEL_KEYS)
        parent = workspace.store.document(evals.EVAL, document.parent or "")
        yield from _strings({} if parent is None else parent.record, MODEL_KEYS)


def _asks(workspace: Workspace, run: Run, names: Collection[str]) -> bool:
    """Whether a batch's file names one of the models, wherever in a line."""
    document = workspace.store.document(batches.KIND, run.ref) if run.kind == batches.KIND and run.ref else None
    sha256 = "" if document is None else document.record.get("sha256") or ""
    files = Filing(workspace.store, workspace.settings).files
    if not sha256 or sha256 not in files:
        return False
    quoted = [f'"{name}"'.encode() for name in names]
    with files.path(sha256).open("rb") as file:
        return any(name in line for line in file for name in quoted)


def _strings(value: Any, keys: Collection[str], key: str = "") -> Iterator[str]:
    """Every string below one of `keys`, alone or in a list."""
    if isinstance(value, str):
        if key in keys:
            yield value
    elif isinstance(value, Mapping):
        for inner, each in value.items():
            yield from _strings(each, keys, inner)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each, keys, key)

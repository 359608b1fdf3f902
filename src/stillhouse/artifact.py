"""A student that can be served, and its lineage: which recipe, data, teacher and code made it."""

from __future__ import annotations

from typing import Any

from stillhouse.records import Record

FINE_TUNED = "ft:"
"""Prefix of the names that the fine-tuning API gives its models: such a name is asked for like an id."""


class Artifact(Record):
    """The manifest of a model folder; written last, so its presence means that the files are whole."""

    id: str
    """`student-...`, `model-...`: what clients name in `model`."""
    kind: str
    """A name in the registry of students: who can load it."""
    created: int
    parameters: int
    """Trained numbers, embeddings included."""
    size_bytes: int
    """Of the files."""
    hashes: dict[str, str]
    """File within the folder -> sha256."""
    name: str | None = None
    run: str | None = None
    dataset: str | None = None
    """Fingerprint of the version it was trained on."""
    teacher: str | None = None
    may_train: dict[str, str] = {}
    """Copied from the dataset's manifest."""
    overridden: tuple[str, ...] = ()
    """Upstreams whose terms forbid training and that somebody allowed by name."""
    recipe: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    code_version: str = ""

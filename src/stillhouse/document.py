"""A document: one record of an API resource (a file, an eval, a batch, ...), kept whole as JSON beside the others of its kind.

Resources that nothing but their own routes reads share this shape, one table and one way to page, instead of a table each.
What it holds is the resource's own affair; what lists and state machines need stands beside it.
"""

from __future__ import annotations

from typing import Any, Literal

from stillhouse.records import Record


class Document(Record):
    kind: str
    """The resource: `file`, `eval`, `batch`, ..."""
    id: str
    """Unique within its kind."""
    parent: str = ""
    """The id of what it belongs to, e.g. the eval of a run; empty where it stands alone."""
    created: int
    """Seconds since the epoch; with `id` its place in every list."""
    record: dict[str, Any]
    """The resource itself, JSON."""


class DocumentQuery(Record):
    """A page of one kind."""

    kind: str
    parent: str | None = None
    where: dict[str, str] = {}
    """Top-level fields of the record that must be equal."""
    metadata: dict[str, str] = {}
    """Pairs that the record's `metadata` must hold."""
    after: str | None = None
    """Id of the last item of the page before."""
    limit: int = 20
    order: Literal["asc", "desc"] = "desc"

    def matches(self, record: dict[str, Any]) -> bool:
        """Whether the record's own fields are those asked for."""
        pairs = record.get("metadata") or {}
        return all(record.get(key) == value for key, value in self.where.items()) and all(
            pairs.get(key) == value for key, value in self.metadata.items()
        )

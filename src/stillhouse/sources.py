"""Where a dataset's rows come from: files, each by its format's name, and what the gateway stored.

What is done with the rows is `curation`'s; here is only what the command line and `loop` both have to find.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stillhouse.completion import CompletionQuery
from stillhouse.curation import Collected, collect, collect_rows
from stillhouse.curation.collect import WHOLE, joined
from stillhouse.dataset import Split
from stillhouse.formats import FORMATS, format_of
from stillhouse.stores.base import every
from stillhouse.workspace import Workspace


def read_files(files: Mapping[Split, Path | None], format_: str | None = None, encoding: str = "utf-8") -> Collected:
    """The rows of files, each one split; a train file alone is to be split. Raises FormatError, NotFoundError."""
    parts = []
    for split, path in files.items():
        if path is not None:
            kind = FORMATS.resolve(format_ or format_of(path))()
            parts.append(collect_rows(kind.read(path, encoding=encoding), file=path.name, split=split))
    collected = joined(parts)
    collected.given_splits = len(parts) > 1
    return collected


def read_stored(workspace: Workspace, query: CompletionQuery) -> Collected:
    """What the gateway stored. Students trained here are no teachers, unless the query asks for one by name."""
    store = workspace.store
    students = {artifact.id for artifact in store.artifacts() if artifact.run is not None} - {query.model}
    endings = (query.finish_reason or WHOLE,)
    return collect(every(store, query), store.payload, finish_reasons=endings, not_by=students)

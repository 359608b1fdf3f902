"""Every named write, in one table: a name and JSON-able arguments are all that a write needs to be sent elsewhere."""

from __future__ import annotations

from stillhouse.stores.writes import completions, documents, once, runs
from stillhouse.stores.writes.base import Operation

OPERATIONS: dict[str, Operation] = {**completions.OPERATIONS, **runs.OPERATIONS, **documents.OPERATIONS, **once.OPERATIONS}

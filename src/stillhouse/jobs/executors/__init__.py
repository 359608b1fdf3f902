"""Where workers run: on this machine, or wherever another file here takes them."""

from __future__ import annotations

from stillhouse.registry import Table

EXECUTORS = Table(
    "executor",
    "executors",
    {
        "local": "stillhouse.jobs.executors.local:LocalExecutor",
    },
)

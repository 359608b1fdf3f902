"""Runs: one durable queue of long work, who does each kind of it, and who starts, watches and finishes the processes.

A kind of run is a function `work(settings: Settings, run: Run, claim: Claim) -> dict[str, Any] | None`, called in a process of
its own: it returns the run's result, None when it stopped because `claim.should_stop`, and raises StillhouseError when it failed.
It may be called again after any death, so it goes on from what it left and publishes under names made of the run's id.
"""

from __future__ import annotations

from stillhouse.registry import Table

WORKS = Table(
    "kind of run",
    "works",
    {
        "eval": "stillhouse.jobs.eval_runs:work",
        "batch": "stillhouse.jobs.batch_work:work",
        "fine-tune": "stillhouse.finetuning.working:work",
        "train": "stillhouse.jobs.student:work",
        "label": "stillhouse.jobs.labels:work",
        "classify": "stillhouse.jobs.classify_runs:work",
    },
)

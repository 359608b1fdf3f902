"""What a job's run found out, kept in its spec: a run that goes on begins with it, and the API tells it."""

from __future__ import annotations

from typing import Any

from stillhouse.jobs.claim import Claim, answer
from stillhouse.jobs.student import PATIENCE_SECONDS
from stillhouse.run import Run


def remember(claim: Claim, run: Run, **found: Any) -> Run:
    """The run with more in its spec, kept under its claim. Raises FencedError, StoreError."""
    spec = {**run.spec, **found}
    claim.insist(lambda store: answer(store.update_run(run.id, claim.epoch, {"spec": spec})), PATIENCE_SECONDS)
    return run.model_copy(update={"spec": spec})

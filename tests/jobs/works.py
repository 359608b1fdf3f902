"""Works that cost nothing, as a third party would bring them: entries of `stillhouse.works` on the workers' path."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from stillhouse.errors import TrainingError
from stillhouse.jobs.claim import Claim
from stillhouse.jobs.stoppable import run_stoppable
from stillhouse.run import Run
from stillhouse.settings import Settings


def count(settings: Settings, run: Run, claim: Claim) -> dict[str, Any] | None:
    """Count to `steps`, no further than the file `allowed` says if one is named; each number is kept as it is reached.

    Its result is the sum. `fail_at` makes it raise there. What each claim did is appended to `trace`, one line a step.
    """
    print(run.spec.get("prints", ""), flush=True)
    kept = settings.runs / run.id / "count"
    step = int(kept.read_text()) if kept.exists() else 0
    with (settings.runs / run.id / "trace").open("a") as trace:
        while step < run.spec["steps"]:
            if claim.should_stop:
                return None
            if "allowed" in run.spec and step >= int(Path(run.spec["allowed"]).read_text()):
                time.sleep(0.005)
                continue
            time.sleep(run.spec.get("seconds", 0))
            step += 1
            if step == run.spec.get("fail_at"):
                raise TrainingError(f"it was told to fail at step {step}")
            claim.journal.append(step=step, metrics={"sum": step * (step + 1) / 2})
            draft = kept.with_suffix(".draft")
            draft.write_text(str(step))
            draft.replace(kept)
            trace.write(f"{claim.epoch} {step}\n")
            trace.flush()
            claim.progress(step, run.spec["steps"])
    return {"sum": step * (step + 1) // 2}


def wait(settings: Settings, run: Run, claim: Claim) -> dict[str, Any] | None:
    """A coroutine that never ends by itself."""

    async def forever() -> dict[str, Any]:
        claim.journal.append("waiting", step=0)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    return run_stoppable(claim, forever())


def die(settings: Settings, run: Run, claim: Claim) -> dict[str, Any] | None:
    """Ends without a word."""
    os.kill(os.getpid(), signal.SIGKILL)
    return None


def deaf(settings: Settings, run: Run, claim: Claim) -> dict[str, Any] | None:
    """Never looks whether it should stop."""
    claim.progress(1, None)
    while True:
        time.sleep(60)

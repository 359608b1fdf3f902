"""The process of one run: claims it, does the work, says how it went.

    python -m stillhouse.jobs.worker RUN_ID --data-dir DIR

Started by an executor, alone from then on: it needs neither the terminal nor the server that started it. Whatever happens, the
last thing it does is say so: in `status.json` first, in the store as soon as the store takes it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Literal

from stillhouse.errors import StillhouseError, StoreError
from stillhouse.jobs import WORKS, processes
from stillhouse.jobs.claim import BEAT_SECONDS, Claim, FencedError, claim_run
from stillhouse.jobs.journal import Journal, Status, write_status
from stillhouse.run import LEASE_SECONDS, Run
from stillhouse.settings import Settings
from stillhouse.stores.base import Store
from stillhouse.stores.opening import open_store

STORE_PATIENCE_SECONDS = 5.0
"""How long one write waits for somebody else's lock before the worker goes on with its work and tries again later."""
PATIENCE_SECONDS = 300.0
"""How long the run's end is offered to a store that is away; after that `status.json` speaks for it."""


def main() -> None:
    """Exits with 0 when the run succeeded or stopped as asked, 1 when it failed, 75 when somebody else has it."""
    parser = argparse.ArgumentParser(prog="python -m stillhouse.jobs.worker")
    parser.add_argument("run_id")
    parser.add_argument("--data-dir", type=Path, required=True)
    options = parser.parse_args()
    settings = Settings.load(options.data_dir)
    told_early = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told_early.set())
    try:
        run, claim = _claim(settings, options.run_id)
    except StillhouseError as exc:
        print(f"Not started: {exc}", file=sys.stderr)
        sys.exit(75)
    signal.signal(signal.SIGTERM, lambda *_: claim.request_stop())
    if told_early.is_set():
        claim.request_stop()
    with claim:
        status = _work(settings, run, claim)
        _say_how_it_ended(settings, claim, status)
    sys.exit(1 if status.state == "failed" else 0)


def _claim(settings: Settings, run_id: str) -> tuple[Run, Claim]:
    """Wait for a store that is away as long as a lease lasts: after that the run counts as dead anyway."""
    deadline = time.monotonic() + LEASE_SECONDS
    boot = processes.identity(os.getpid())
    assert boot is not None
    while True:
        try:
            store = _open(settings)
            try:
                epoch = claim_run(store, run_id, os.getpid(), boot)
                run = store.run(run_id)
            finally:
                store.close()
            break
        except (StoreError, OSError) as exc:
            print(f"The store is away: {exc}", file=sys.stderr, flush=True)
            if time.monotonic() > deadline:
                raise
            time.sleep(BEAT_SECONDS)
    assert run is not None
    journal = Journal(settings.runs / run_id, run_id)
    return run, Claim(run_id, epoch, journal, lambda: _open(settings), step=run.step)


def _open(settings: Settings) -> Store:
    return open_store(settings, role="worker", patience=STORE_PATIENCE_SECONDS)


def _work(settings: Settings, run: Run, claim: Claim) -> Status:
    claim.journal.append("Started." if claim.epoch == 1 else f"Started again (claim {claim.epoch}).")
    try:
        result = WORKS.resolve(run.kind)(settings, run, claim)
    except StillhouseError as exc:
        return _failed(claim, str(exc))
    except Exception as exc:
        traceback.print_exc()
        return _failed(claim, f"{type(exc).__name__}: {exc}")
    if result is None:
        claim.journal.append("Stopped as asked; what is done is kept.")
        return _status(claim, "stopped")
    return _status(claim, "succeeded", result=result)


def _failed(claim: Claim, error: str) -> Status:
    claim.journal.append(error, level="error")
    return _status(claim, "failed", error=error)


def _status(
    claim: Claim,
    state: Literal["succeeded", "failed", "stopped"],
    *,
    error: str | None = None,
    result: dict[str, Any] | None = None,
) -> Status:
    return Status(epoch=claim.epoch, state=state, finished=int(time.time()), error=error, result=result or {})


def _say_how_it_ended(settings: Settings, claim: Claim, status: Status) -> None:
    """To the run's folder, then to the store; nothing at all if the run is somebody else's by now."""
    if claim.fenced.is_set():
        print("Another worker has this run now; nothing of this one is kept.", file=sys.stderr)
        sys.exit(75)
    claim.journal.sync()
    write_status(settings.runs / claim.run_id, status)
    changes: dict[str, object] = {"finished": status.finished, "error": status.error, "result": status.result}
    try:
        claim.insist(lambda store: claim.end(store, status.state, changes), PATIENCE_SECONDS)
    except FencedError as exc:
        print(exc, file=sys.stderr)
        sys.exit(75)
    except StoreError as exc:
        print(f"{exc} {claim.run_id} stands in status.json; the next reader brings it to the store.", file=sys.stderr)


if __name__ == "__main__":
    main()
